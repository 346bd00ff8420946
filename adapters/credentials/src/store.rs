//! The store of logins: those of the caller, and those in files.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oci_proto::{Credentials, CredentialsQuery, Fault, Registry};

use crate::file::File;
use crate::helper::Helpers;
use crate::locations;
use crate::process::Processes;

/// A store of logins.
///
/// Logins added with [`login`](Self::login) come first. Files follow: first those added with
/// [`file`](Self::file), in the order of the calls, then those of the environment.
#[derive(Clone, Debug)]
#[must_use]
pub struct Store {
    logins: Vec<(Registry, Credentials)>,
    files: Vec<PathBuf>,
    found: Vec<PathBuf>,
    helpers: Helpers,
    /// Where the last login for each registry was found. Clones share it.
    sources: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Store {
    /// Makes an empty store.
    pub fn none() -> Self {
        let helpers = Helpers { path: None, timeout: Duration::from_secs(30), running: Processes::default() };
        Self { logins: Vec::new(), files: Vec::new(), found: Vec::new(), helpers, sources: Arc::default() }
    }

    /// Makes a store of the files of Docker and Podman, located by the environment of this process.
    ///
    /// See [the crate documentation](crate#files) for their order. No file is read yet.
    pub fn from_env() -> Self {
        Self::from_vars(|name| match name {
            // Unlike the variable, this works in the minimal environment of a service, and on Windows.
            "HOME" => env::home_dir().map(OsString::from),
            _ => env::var_os(name),
        })
    }

    /// Makes a store of the files of Docker and Podman, located by the given environment variables.
    ///
    /// An empty variable counts as unset. Credential helpers are found in the given `PATH`, or, without one,
    /// in that of this process.
    pub fn from_vars(vars: impl Fn(&str) -> Option<OsString>) -> Self {
        let vars = |name: &str| vars(name).filter(|value| !value.is_empty());
        let mut store = Self::none();
        store.found = locations::find(&vars);
        store.helpers.path = vars("PATH");
        store
    }

    /// Adds a file, in the format of Docker's `config.json` or Podman's `auth.json`.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(path.into());
        self
    }

    /// Adds a login for all repositories of a registry.
    pub fn login(mut self, registry: Registry, credentials: Credentials) -> Self {
        self.logins.push((registry, credentials));
        self
    }

    /// Sets the time limit of a credential helper. 30 s by default, since some prompt the user or use a
    /// network.
    pub fn helper_timeout(mut self, timeout: Duration) -> Self {
        self.helpers.timeout = timeout;
        self
    }

    /// Looks up a login. `None` if there is none.
    ///
    /// Blocks while it reads files and runs credential helpers, each for at most the
    /// [time limit](Self::helper_timeout).
    ///
    /// # Errors
    ///
    /// A file is not a regular file, cannot be read, is larger than 4 MiB, or is invalid. A helper cannot be
    /// started, exceeds the time limit, writes too much, fails, or returns an invalid answer. The fault has
    /// the kind [`FaultKind::Credentials`](oci_proto::FaultKind::Credentials), and names the file and the
    /// helper.
    pub fn look_up(&self, query: &CredentialsQuery) -> Result<Option<Credentials>, Fault> {
        if let Some((_, login)) = self.logins.iter().find(|(registry, _)| *registry == query.registry) {
            return Ok(Some(login.clone()));
        }
        for path in self.files.iter().chain(&self.found) {
            let Some(file) = File::read(path)? else { continue };
            if let Some((login, source)) = file.look_up(query, &self.helpers)? {
                let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
                sources.insert(query.registry.to_string(), source);
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    /// Returns where the last login for a registry was found, as text for an error: a file, and the credential
    /// helper that it names, if one was used. `None` if there was no login, or for one of
    /// [`login`](Self::login).
    pub fn source(&self, registry: &Registry) -> Option<String> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.get(&registry.to_string()).cloned()
    }

    /// Returns a clone for one client: its [`kill_helpers`](Self::kill_helpers) concerns only its own helpers.
    pub fn for_client(&self) -> Self {
        let helpers = Helpers { running: self.helpers.running.separate(), ..self.helpers.clone() };
        Self { helpers, ..self.clone() }
    }

    /// Kills the credential helpers that are running for this store and its clones, and, on Unix, their whole
    /// process groups. Their lookups fail. The clients call it if no operation waits for a login any more; a
    /// program that handles signals calls it before it exits.
    pub fn kill_helpers(&self) {
        self.helpers.running.kill();
    }
}

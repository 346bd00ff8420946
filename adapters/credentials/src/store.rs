//! The store of logins: those of the caller, and those in files.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use oci_proto::{Credentials, CredentialsQuery, Fault, Registry};

use crate::file::File;
use crate::helper::Helpers;
use crate::locations;

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
}

impl Store {
    /// Makes an empty store.
    pub fn none() -> Self {
        let helpers = Helpers { path: None, timeout: Duration::from_secs(30) };
        Self { logins: Vec::new(), files: Vec::new(), found: Vec::new(), helpers }
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
            if let Some(login) = file.look_up(query, &self.helpers)? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }
}

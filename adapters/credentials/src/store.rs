//! The store: logins that the caller gives, and files that hold others.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use oci_proto::{Credentials, CredentialsQuery, Fault, Registry};

use crate::file::File;
use crate::helper::Helpers;
use crate::places;

/// Where logins are looked up.
///
/// Logins that [`login`](Self::login) gave come first, then those in files: first the files that
/// [`file`](Self::file) gave, in the order of the calls, then those of the environment.
#[derive(Clone, Debug)]
#[must_use]
pub struct Store {
    logins: Vec<(Registry, Credentials)>,
    files: Vec<PathBuf>,
    found: Vec<PathBuf>,
    helpers: Helpers,
}

impl Store {
    /// Makes a store without any login.
    pub fn none() -> Self {
        let helpers = Helpers { path: None, timeout: Duration::from_secs(30) };
        Self { logins: Vec::new(), files: Vec::new(), found: Vec::new(), helpers }
    }

    /// Makes a store of the files that Docker and Podman use, as this process's environment has them.
    ///
    /// See [the crate's page](crate#which-files) for their order. No file is read yet.
    pub fn from_env() -> Self {
        Self::from_vars(|name| match name {
            // Unlike the variable, this has an answer in a service's bare environment, and on Windows.
            "HOME" => env::home_dir().map(OsString::from),
            _ => env::var_os(name),
        })
    }

    /// Makes a store of the files that Docker and Podman use, as the given environment variables have them.
    ///
    /// An empty variable counts as one that is not set. `PATH` is where credential helpers are looked
    /// for; where there is none, they are looked for in this process's own.
    pub fn from_vars(vars: impl Fn(&str) -> Option<OsString>) -> Self {
        let vars = |name: &str| vars(name).filter(|value| !value.is_empty());
        let mut store = Self::none();
        store.found = places::find(&vars);
        store.helpers.path = vars("PATH");
        store
    }

    /// Adds a file, in the form of Docker's `config.json` or Podman's `auth.json`.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(path.into());
        self
    }

    /// Adds a login for one registry, and for all of its repositories.
    pub fn login(mut self, registry: Registry, credentials: Credentials) -> Self {
        self.logins.push((registry, credentials));
        self
    }

    /// Sets how long a credential helper may take. 30 s by default: some ask a person, or a network.
    pub fn helper_timeout(mut self, timeout: Duration) -> Self {
        self.helpers.timeout = timeout;
        self
    }

    /// Looks up a login. `None` if there is none.
    ///
    /// Blocks while it reads files, and while it runs a credential helper, up to the
    /// [timeout](Self::helper_timeout) for each helper that the files name for this registry.
    ///
    /// # Errors
    ///
    /// The fault is of the kind [`FaultKind::Credentials`](oci_proto::FaultKind::Credentials) and says which
    /// file, and which helper. A file is not a file, cannot be read, is larger than 4 MiB, or does not have
    /// the form that it should have. A helper cannot be started, takes too long, answers too much, fails,
    /// or answers in another form than it should.
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

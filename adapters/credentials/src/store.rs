//! The store of logins: those of the caller, and those in files.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oci_proto::{Credentials, CredentialsQuery, Fault, FaultKind, Registry, Secret};

use crate::edit;
use crate::file::File;
use crate::helper::Helpers;
use crate::locations::{self, Locations};
use crate::process::Processes;

/// The variable with the content of a file.
const VARIABLE: &str = "DOCKER_AUTH_CONFIG";
/// In place of the path of a file.
const IN_ERRORS: &str = "$DOCKER_AUTH_CONFIG";

/// A store of logins.
///
/// Logins added with [`login`](Self::login) come first, then those of the program itself, added with [`ask`](Self::ask).
/// Files follow: first those added with
/// [`file`](Self::file), in the order of the calls, then those of the environment.
#[derive(Clone, Debug)]
#[must_use]
pub struct Store {
    logins: Vec<(Registry, Credentials)>,
    asked: Vec<Asked>,
    files: Vec<PathBuf>,
    found: Locations,
    /// The value of [`VARIABLE`].
    variable: Option<Secret>,
    helpers: Helpers,
    /// Where the last login for each registry was found. Clones share it.
    sources: Arc<Mutex<BTreeMap<Registry, String>>>,
}

/// A function that finds logins.
#[derive(Clone)]
struct Asked {
    name: String,
    find: Arc<Find>,
}

type Find =
    dyn Fn(&CredentialsQuery) -> Result<Option<Credentials>, Box<dyn Error + Send + Sync>> + Send + Sync;

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Asked").field(&self.name).finish()
    }
}

impl Store {
    /// Makes an empty store.
    pub fn none() -> Self {
        let helpers = Helpers { path: None, timeout: Duration::from_secs(30), running: Processes::default() };
        let (logins, asked, files, found) = (Vec::new(), Vec::new(), Vec::new(), Locations::default());
        Self { logins, asked, files, found, variable: None, helpers, sources: Arc::default() }
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
        // Other programs ignore text that is not UTF-8, too.
        store.variable = vars(VARIABLE).and_then(|text| text.into_string().ok()).map(Secret::from);
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

    /// Adds a function that finds logins, for example short-lived ones from a cloud's API. `name` says where they come from,
    /// in errors and in [`source`](Self::source). It returns `None` if it has no login for the registry, which is
    /// looked up further then.
    ///
    /// A client asks it once for a repository, and again when the registry refuses the login, with
    /// [`is_refused`](CredentialsQuery::is_refused) set. So a service that runs for longer than a login lives goes on with
    /// the next one. It may block, and be called by several threads at once.
    ///
    /// ```
    /// use oci_proto::Credentials;
    /// use oci_proto_credentials::Store;
    /// # fn fetch_password() -> Result<String, std::io::Error> { Ok("secret".to_owned()) }
    ///
    /// let store = Store::from_env().ask("the cloud's API", |query| {
    ///     if !query.registry.as_str().ends_with(".cloud.example") {
    ///         return Ok(None);
    ///     }
    ///     Ok(Some(Credentials::login("token", fetch_password()?)?))
    /// });
    /// ```
    pub fn ask(
        mut self,
        name: &str,
        find: impl Fn(&CredentialsQuery) -> Result<Option<Credentials>, Box<dyn Error + Send + Sync>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.asked.push(Asked { name: name.to_owned(), find: Arc::new(find) });
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
    /// A function of [`ask`](Self::ask) fails. A file is not a regular file, cannot be read, is larger than 4 MiB, or is
    /// invalid. A helper cannot be started, exceeds the time limit, writes too much, fails, or returns an invalid answer.
    /// The fault has the kind [`FaultKind::Credentials`](oci_proto::FaultKind::Credentials), and names the function, or
    /// the file and the helper.
    pub fn look_up(&self, query: &CredentialsQuery) -> Result<Option<Credentials>, Fault> {
        if let Some((_, login)) = self.logins.iter().find(|(registry, _)| *registry == query.registry) {
            return Ok(Some(login.clone()));
        }
        for Asked { name, find } in &self.asked {
            let failed = |error: Box<dyn Error + Send + Sync>| {
                let mut why = format!("{name}: {error}");
                let mut source = error.source();
                while let Some(error) = source {
                    let _ = write!(why, ": {error}");
                    source = error.source();
                }
                Fault::new(FaultKind::Credentials, why)
            };
            if let Some(login) = find(query).map_err(failed)? {
                self.found_in(query, name.clone());
                return Ok(Some(login));
            }
        }
        let variable = self.variable.as_ref().map(|text| File::parse(Path::new(IN_ERRORS), text.reveal()));
        let files = self.paths().map(|path| File::read(path));
        for file in variable.into_iter().chain(files) {
            let Some(file) = file? else { continue };
            if let Some((login, source)) = file.look_up(query, &self.helpers)? {
                self.found_in(query, source);
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    fn found_in(&self, query: &CredentialsQuery, source: String) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.insert(query.registry.clone(), source);
    }

    /// Stores a login for all repositories of a registry, where Docker or Podman would: in the first file added with
    /// [`file`](Self::file), or in that of `REGISTRY_AUTH_FILE` or `DOCKER_CONFIG`; without these, in the first of the
    /// [files](crate#files) that exists, or else in Docker's. If the file names a credential helper for the registry, it
    /// stores the login instead. A login for the same registry is replaced. Returns where the login is, as text for the
    /// user.
    ///
    /// The file is replaced as a whole and only its owner can read it. Blocks while it writes the file or runs the
    /// helper.
    ///
    /// # Errors
    ///
    /// There is no file to store it in, since the environment names no home directory. The file is invalid, or cannot
    /// be read or written, or is not a regular file. The helper cannot be started, fails, or exceeds the time limit. The login is an access token.
    pub fn save(&self, registry: &Registry, login: &Credentials) -> Result<String, Fault> {
        let found = &self.found;
        let named = self.files.first().or_else(|| found.files.first().filter(|_| found.first_is_named));
        let path = named.or_else(|| self.paths().find(|path| path.exists())).or(found.docker.as_ref());
        let no_file = || Fault::new(FaultKind::Credentials, "no file for logins: set HOME or DOCKER_CONFIG");
        edit::save(path.ok_or_else(no_file)?, registry, login, &self.helpers)
    }

    /// Removes the logins for all repositories of a registry from all [files](crate#files), and from the credential
    /// helpers that they name. Returns where they were, as text for the user.
    ///
    /// Blocks while it reads and writes files, and runs helpers.
    ///
    /// # Errors
    ///
    /// A file is invalid, or cannot be read or written. A helper cannot be started, fails, or exceeds the time limit.
    pub fn erase(&self, registry: &Registry) -> Result<Vec<String>, Fault> {
        let erased = self.paths().map(|path| edit::erase(path, registry, &self.helpers));
        erased.filter_map(Result::transpose).collect()
    }

    /// The files, in order of precedence.
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().chain(&self.found.files)
    }

    /// Returns where the last login for a registry was found, as text for an error: the name given to
    /// [`ask`](Self::ask), or a file, and the credential helper that it names, if one was used. `None` if there was no login, or for one of
    /// [`login`](Self::login).
    pub fn source(&self, registry: &Registry) -> Option<String> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.get(registry).cloned()
    }

    /// Returns the registries whose login was found by a function, in a file or by a helper, with the texts of [`source`](Self::source).
    pub fn sources(&self) -> Vec<(Registry, String)> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.iter().map(|(registry, source)| (registry.clone(), source.clone())).collect()
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

//! Logins: from the command line, or from the files of Docker and Podman.

use std::fmt;
use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap::Args;
use oci_proto::{Credentials, Registry};
use oci_proto_credentials::Store;

use crate::output::Failure;
use crate::prompt;
use crate::signals;

/// Longer than any registry accepts.
const MAX_PASSWORD: usize = 64 << 10;

#[derive(Args, Debug)]
pub(crate) struct LoginArgs {
    /// Log in to the registry as NAME; by default, the logins of Docker and Podman are used.
    #[arg(long, global = true, value_name = "NAME", help_heading = "Login")]
    username: Option<String>,
    /// Read the password from stdin; a trailing line break is removed.
    #[arg(long, global = true, help_heading = "Login")]
    password_stdin: bool,
    /// Read logins only from this file, in the format of Docker's config.json.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Login")]
    auth_file: Option<PathBuf>,
}

impl LoginArgs {
    /// The store of logins for a command that contacts this registry.
    pub(crate) fn store(&self, registry: &Registry) -> Result<Store, Failure> {
        let store = match &self.auth_file {
            None => Store::from_env(),
            // A store ignores a missing file, but this one is named explicitly.
            Some(path) => match fs::metadata(path) {
                Ok(_) => Store::none().file(path),
                Err(error) => return Err(usage(format_args!("--auth-file {}: {error}", path.display()))),
            },
        };
        kill_helpers_before_end(&store)?;
        match (&self.username, self.password_stdin) {
            (None, false) => Ok(store),
            (Some(name), true) => Ok(store.login(registry.clone(), login(name, password()?)?)),
            (Some(_), false) => Err(usage("--username requires --password-stdin and a password on stdin")),
            (None, true) => Err(usage(WITHOUT_NAME)),
        }
    }

    /// The store whose files a command changes.
    pub(crate) fn files(&self) -> Result<Store, Failure> {
        let store = match &self.auth_file {
            None => Store::from_env(),
            Some(path) => Store::none().file(path),
        };
        kill_helpers_before_end(&store)?;
        Ok(store)
    }

    /// Returns the user name and the login that the options give, or else those that the user types.
    pub(crate) fn ask(&self, registry: &Registry) -> Result<(String, Credentials), Failure> {
        let (name, password) = match (&self.username, self.password_stdin) {
            (Some(name), true) => (name.clone(), password()?),
            (None, true) => return Err(usage(WITHOUT_NAME)),
            (name, false) => prompt::name_and_password(registry, name.as_deref())?,
        };
        let login = login(&name, password)?;
        Ok((name, login))
    }
}

const WITHOUT_NAME: &str = "--password-stdin requires --username NAME";

fn login(name: &str, password: String) -> Result<Credentials, Failure> {
    Credentials::login(name, password).map_err(|invalid| usage(format_args!("--username {name}: {invalid}")))
}

/// Helpers have process groups of their own.
fn kill_helpers_before_end(store: &Store) -> Result<(), Failure> {
    let helpers = store.clone();
    signals::before_end(move || helpers.kill_helpers())
        .map_err(|error| Failure::failed(format_args!("could not handle signals: {error}")))
}

fn password() -> Result<String, Failure> {
    let unusable = |reason: &dyn fmt::Display| usage(format_args!("--password-stdin: {reason}"));
    let stdin = io::stdin();
    // The terminal would echo the password.
    if stdin.is_terminal() {
        return Err(unusable(&"stdin is a terminal; redirect it, for example with `< FILE`"));
    }
    let mut bytes = Vec::new();
    stdin.lock().take(MAX_PASSWORD as u64 + 1).read_to_end(&mut bytes).map_err(|error| unusable(&error))?;
    if bytes.len() > MAX_PASSWORD {
        return Err(unusable(&format_args!("the password is longer than {} KiB", MAX_PASSWORD >> 10)));
    }
    let text = String::from_utf8(bytes).map_err(|_| unusable(&"the password is not UTF-8"))?;
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    match line.unwrap_or(&text) {
        "" => Err(unusable(&"no password on stdin")),
        password => Ok(password.to_owned()),
    }
}

fn usage(error: impl fmt::Display) -> Failure {
    Failure::usage(error)
}

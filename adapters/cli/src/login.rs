//! Logins: from the command line, or from where Docker and Podman keep them.

use std::fmt;
use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap::Args;
use oci_proto::{Credentials, Registry};
use oci_proto_credentials::Store;

use crate::output::Failure;

/// More than any registry takes.
const MOST: usize = 64 << 10;

#[derive(Args, Debug)]
pub(crate) struct Login {
    /// Log in to the registry as NAME; otherwise the logins of Docker and Podman serve.
    #[arg(long, global = true, value_name = "NAME", help_heading = "Login")]
    username: Option<String>,
    /// Read the password from stdin; a line break at its end is left out.
    #[arg(long, global = true, help_heading = "Login")]
    password_stdin: bool,
    /// Read logins from this file only, in the form of Docker's config.json.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Login")]
    auth_file: Option<PathBuf>,
}

impl Login {
    /// Where logins are looked up for a command about something in this registry.
    pub(crate) fn store(&self, registry: &Registry) -> Result<Store, Failure> {
        let store = match &self.auth_file {
            None => Store::from_env(),
            // A store passes over a file that is not there, but this one is asked for by name.
            Some(path) => match fs::metadata(path) {
                Ok(_) => Store::none().file(path),
                Err(error) => return Err(usage(format_args!("--auth-file {}: {error}", path.display()))),
            },
        };
        match (&self.username, self.password_stdin) {
            (None, false) => Ok(store),
            (Some(name), true) => {
                let login = Credentials::login(name.as_str(), password()?)
                    .map_err(|invalid| usage(format_args!("--username {name}: {invalid}")))?;
                Ok(store.login(registry.clone(), login))
            }
            (Some(_), false) => Err(usage("--username needs --password-stdin, and the password on stdin")),
            (None, true) => Err(usage("--password-stdin needs --username NAME")),
        }
    }
}

fn password() -> Result<String, Failure> {
    let unusable = |why: &dyn fmt::Display| usage(format_args!("--password-stdin: {why}"));
    let stdin = io::stdin();
    // It would be seen while it is typed.
    if stdin.is_terminal() {
        return Err(unusable(&"stdin is a terminal; pipe the password in, as with `< FILE`"));
    }
    let mut bytes = Vec::new();
    stdin.lock().take(MOST as u64 + 1).read_to_end(&mut bytes).map_err(|error| unusable(&error))?;
    if bytes.len() > MOST {
        return Err(unusable(&format_args!("more than {} KiB", MOST >> 10)));
    }
    let text = String::from_utf8(bytes).map_err(|_| unusable(&"the password is not UTF-8"))?;
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    match line.unwrap_or(&text) {
        "" => Err(unusable(&"there is no password on stdin")),
        password => Ok(password.to_owned()),
    }
}

fn usage(what: impl fmt::Display) -> Failure {
    Failure::usage(what)
}

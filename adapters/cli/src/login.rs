//! Logins: from the command line, or from the files of Docker and Podman.

use std::fmt;
use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::PathBuf;
#[cfg(unix)]
use std::thread;

use clap::Args;
use oci_proto::{Credentials, Registry};
use oci_proto_credentials::Store;

use crate::output::Failure;

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
        kill_helpers_on_signals(&store)?;
        match (&self.username, self.password_stdin) {
            (None, false) => Ok(store),
            (Some(name), true) => {
                let login = Credentials::login(name.as_str(), password()?)
                    .map_err(|invalid| usage(format_args!("--username {name}: {invalid}")))?;
                Ok(store.login(registry.clone(), login))
            }
            (Some(_), false) => Err(usage("--username requires --password-stdin and a password on stdin")),
            (None, true) => Err(usage("--password-stdin requires --username NAME")),
        }
    }
}

/// Kills the credential helpers of a store before a signal ends this process: they have process groups of
/// their own.
#[cfg(unix)]
fn kill_helpers_on_signals(store: &Store) -> Result<(), Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    let failed = |error| Failure::failed(format_args!("could not handle signals: {error}"));
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(failed)?;
    let store = store.clone();
    let end = move || {
        for signal in signals.forever() {
            store.kill_helpers();
            // Ends this process.
            let _ = emulate_default_handler(signal);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(end).map(drop).map_err(failed)
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
fn kill_helpers_on_signals(_: &Store) -> Result<(), Failure> {
    Ok(())
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

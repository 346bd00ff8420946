//! Credential helpers: programs that store logins.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use oci_proto::Credentials;
use serde_json::{Value, json};

use crate::entry::{self, string};
use crate::process::{Output, Processes};

/// A helper's answer if it has no login, which is not an error.
const NOT_FOUND: &[u8] = b"credentials not found in native keychain";

/// Fits into a pipe, so that writing it does not block.
const MAX_INPUT: usize = 32 << 10;

/// Runs credential helpers.
#[derive(Clone, Debug)]
pub(crate) struct Helpers {
    /// The `PATH` to find them in, instead of that of this process.
    pub(crate) path: Option<OsString>,
    /// The time limit for each.
    pub(crate) timeout: Duration,
    /// Those that are running.
    pub(crate) running: Processes,
}

impl Helpers {
    /// Returns the program of a helper.
    pub(crate) fn program(name: &str) -> String {
        format!("docker-credential-{name}")
    }

    /// Gets the login for a server from a helper.
    ///
    /// Source: docker-credential-helpers, README, "Development".
    pub(crate) fn get(&self, name: &str, server: &str) -> Result<Option<Credentials>, String> {
        let program = Self::program(name);
        self.run(&program, "get", server.as_bytes())
            .and_then(|output| read(&output, &program, server))
            .map_err(|why| of_program(&program, &why))
    }

    /// Stores the login for a server in a helper.
    pub(crate) fn store(&self, name: &str, server: &str, login: &Credentials) -> Result<(), String> {
        let (username, secret) = entry::username_and_secret(login)?;
        let input = json!({ "ServerURL": server, "Username": username, "Secret": secret.reveal() });
        self.change(name, "store", input.to_string().as_bytes())
    }

    /// Removes the login for a server from a helper.
    pub(crate) fn erase(&self, name: &str, server: &str) -> Result<(), String> {
        self.change(name, "erase", server.as_bytes())
    }

    fn change(&self, name: &str, action: &str, input: &[u8]) -> Result<(), String> {
        let program = Self::program(name);
        let output = if input.len() > MAX_INPUT {
            Err(format!("is not run: the login is longer than {} KiB", MAX_INPUT >> 10))
        } else {
            self.run(&program, action, input)
        };
        match output {
            Ok(output) if output.status.success() => Ok(()),
            // Its output may contain the login.
            Ok(output) => {
                Err(of_program(&program, &format!("failed to {action} the login ({})", output.status)))
            }
            Err(why) => Err(of_program(&program, &why)),
        }
    }

    fn run(&self, program: &str, action: &str, input: &[u8]) -> Result<Output, String> {
        // A slash would lead to another directory, and some other characters are special on some systems.
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+');
        if !program.bytes().all(plain) {
            return Err("has an invalid name: only letters, digits and -_.+ are allowed".to_owned());
        }
        let path = self.path.clone().or_else(|| env::var_os("PATH")).unwrap_or_default();
        let file = find(program, &path).ok_or("is not in PATH; install it, or remove it from the file")?;
        let mut command = Command::new(file);
        command.arg(action).env("PATH", path);
        self.running.run(&mut command, input, self.timeout).map_err(|error| error.to_string())
    }
}

fn of_program(program: &str, why: &str) -> String {
    format!("the credential helper `{}` {why}", printable(program))
}

/// Finds a program in the directories of `PATH`. Relative and empty entries are skipped: they depend on the
/// working directory, whose files others may control.
fn find(program: &str, path: &OsStr) -> Option<PathBuf> {
    let name = format!("{program}{}", env::consts::EXE_SUFFIX);
    let directories = env::split_paths(path).filter(|directory| directory.is_absolute());
    let files: Vec<_> = directories.map(|directory| directory.join(&name)).collect();
    // Running a file that is not executable yields the error to report.
    let found = files.iter().find(|file| is_executable(file));
    found.or_else(|| files.iter().find(|file| file.exists())).cloned()
}

#[cfg(unix)]
fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file())
}

fn read(output: &Output, program: &str, server: &str) -> Result<Option<Credentials>, String> {
    let answer = output.stdout.trim_ascii();
    if answer == NOT_FOUND {
        return Ok(None);
    }
    if !output.status.success() {
        // Its output may contain the login.
        let status = output.status;
        return Err(format!("failed ({status}); to see why, run: echo {server} | {program} get"));
    }
    let answer = match serde_json::from_slice(answer) {
        Ok(Value::Object(answer)) => answer,
        Ok(_) => return Err("returned JSON that is not an object".to_owned()),
        // Of the answer, the error shows only the line and the column.
        Err(error) => return Err(format!("did not return JSON: {error}")),
    };
    let text = |name| string(&answer, name).map(Option::unwrap_or_default);
    let answer = || Ok((text("Username")?, text("Secret")?));
    match answer().map_err(|why: String| format!("returned an invalid answer: {why}"))? {
        ("", "") => Ok(None),
        (username, secret) => Credentials::login(username, secret)
            .map(Some)
            .map_err(|invalid| format!("returned an unusable login: {invalid}")),
    }
}

/// The start of a program's name, without control characters.
fn printable(program: &str) -> String {
    let mut shown: String = program.chars().filter(|c| !c.is_control()).take(300).collect();
    if shown.len() < program.len() {
        shown.push_str("...");
    }
    shown
}

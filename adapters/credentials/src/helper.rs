//! Credential helpers: programs that store logins.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use oci_proto::Credentials;
use serde_json::Value;

use crate::entry::string;
use crate::process::{Output, run};

/// A helper's answer if it has no login, which is not an error.
const NOT_FOUND: &[u8] = b"credentials not found in native keychain";

/// Runs credential helpers.
#[derive(Clone, Debug)]
pub(crate) struct Helpers {
    /// The `PATH` to find them in, instead of that of this process.
    pub(crate) path: Option<OsString>,
    /// The time limit for each.
    pub(crate) timeout: Duration,
}

impl Helpers {
    /// Gets the login for a server from a helper.
    ///
    /// Source: docker-credential-helpers, README, "Development".
    pub(crate) fn get(&self, name: &str, server: &str) -> Result<Option<Credentials>, String> {
        let program = format!("docker-credential-{name}");
        self.run(&program, server)
            .and_then(|output| read(&output))
            .map_err(|why| format!("the credential helper `{}` {why}", printable(program.as_bytes())))
    }

    fn run(&self, program: &str, server: &str) -> Result<Output, String> {
        // A slash would lead to another directory, and some other characters are special on some systems.
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+');
        if !program.bytes().all(plain) {
            return Err("has an invalid name: only letters, digits and -_.+ are allowed".to_owned());
        }
        let mut command = Command::new(program);
        command.arg("get");
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        run(&mut command, server.as_bytes(), self.timeout).map_err(|error| error.to_string())
    }
}

fn read(output: &Output) -> Result<Option<Credentials>, String> {
    let answer = output.stdout.trim_ascii();
    if answer == NOT_FOUND {
        return Ok(None);
    }
    if !output.status.success() {
        // Helpers are expected to print errors to stdout, but many print them to stderr.
        let message = if answer.is_empty() { &output.stderr } else { answer };
        return Err(format!("failed ({}): {}", output.status, printable(message)));
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

/// The start of a program's output, on one line.
fn printable(output: &[u8]) -> String {
    let output = String::from_utf8_lossy(output);
    if output.contains('{') {
        return "its output is not shown, since it may contain the login".to_owned();
    }
    let words: Vec<_> = output.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None if line.is_empty() => "no error message".to_owned(),
        None => line,
    }
}

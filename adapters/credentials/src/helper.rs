//! Credential helpers: programs that keep logins, and what is said to them.

use std::ffi::OsString;
use std::process::Command;
use std::time::Duration;

use oci_proto::Credentials;
use serde_json::Value;

use crate::entry::string;
use crate::process::{Output, run};

/// What a helper says when it has no login; this is no failure.
const NONE: &[u8] = b"credentials not found in native keychain";

/// How helpers are run.
#[derive(Clone, Debug)]
pub(crate) struct Helpers {
    /// Where they are looked for, if not where this process looks.
    pub(crate) path: Option<OsString>,
    /// How long each may take.
    pub(crate) timeout: Duration,
}

impl Helpers {
    /// Asks a helper for the login that it has for a server.
    ///
    /// Source: docker-credential-helpers, README, "Development".
    pub(crate) fn get(&self, name: &str, server: &str) -> Result<Option<Credentials>, String> {
        let program = format!("docker-credential-{name}");
        self.run(&program, server)
            .and_then(|output| read(&output))
            .map_err(|why| format!("the credential helper `{}` {why}", printable(program.as_bytes())))
    }

    fn run(&self, program: &str, server: &str) -> Result<Output, String> {
        // A slash would lead to another directory; some of the others mean something to some system.
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+');
        if !program.bytes().all(plain) {
            return Err("has a name with something else than letters, digits and -_.+ in it".to_owned());
        }
        let mut command = Command::new(program);
        command.arg("get");
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        run(&mut command, server.as_bytes(), self.timeout).map_err(|trouble| trouble.to_string())
    }
}

fn read(output: &Output) -> Result<Option<Credentials>, String> {
    let answer = output.stdout.trim_ascii();
    if answer == NONE {
        return Ok(None);
    }
    if !output.status.success() {
        // Helpers are to say on stdout what is wrong, and many say it on stderr.
        let said = if answer.is_empty() { &output.stderr } else { answer };
        return Err(format!("failed ({}): {}", output.status, printable(said)));
    }
    let answer = match serde_json::from_slice(answer) {
        Ok(Value::Object(answer)) => answer,
        Ok(_) => return Err("answered with something else than a JSON object".to_owned()),
        // Of what the answer is, this tells no more than the line and the column.
        Err(error) => return Err(format!("did not answer in JSON: {error}")),
    };
    let text = |name| string(&answer, name).map(Option::unwrap_or_default);
    let answer = || Ok((text("Username")?, text("Secret")?));
    match answer().map_err(|why: String| format!("answered in another form than it should: {why}"))? {
        ("", "") => Ok(None),
        (username, secret) => Credentials::login(username, secret)
            .map(Some)
            .map_err(|invalid| format!("answered with a login that cannot be used: {invalid}")),
    }
}

/// The beginning of what a program said, on one line.
fn printable(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    if said.contains('{') {
        return "what it said is not shown, since it may hold the login".to_owned();
    }
    let words: Vec<_> = said.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{}...", line.get(..end).unwrap_or_default()),
        None if line.is_empty() => "it did not say why".to_owned(),
        None => line,
    }
}

//! Temporary directories with configuration files and helpers.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use oci_proto::{Credentials, CredentialsQuery, Fault, FaultKind};
use oci_proto_credentials::Store;
use tempfile::TempDir;

/// A temporary directory with Docker's `config.json`, and helpers in `PATH`.
pub(crate) struct TestDirectory(TempDir);

impl TestDirectory {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn with_config(config: impl AsRef<[u8]>) -> Self {
        let place = Self::new();
        fs::write(place.config(), config).unwrap();
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path().join("config.json")
    }

    /// Adds a helper that is a shell script.
    pub(crate) fn helper(self, name: &str, script: &str) -> Self {
        // Written by another process: if this one wrote it, a concurrent fork could inherit the descriptor,
        // and running the file would fail.
        let mut install = Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod +x \"$0\""])
            .arg(self.path().join(format!("docker-credential-{name}")))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        write!(install.stdin.take().unwrap(), "#!/bin/sh\n{script}\n").unwrap();
        assert!(install.wait().unwrap().success());
        self
    }

    /// The content of a file that a helper wrote beside it.
    pub(crate) fn note(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_default().trim().to_owned()
    }

    pub(crate) fn store(&self) -> Store {
        Store::from_vars(|name| match name {
            "DOCKER_CONFIG" | "XDG_RUNTIME_DIR" | "HOME" => Some(self.path().into()),
            "PATH" => {
                let mut path = OsString::from(self.path());
                path.push(":/usr/bin:/bin");
                Some(path)
            }
            _ => None,
        })
    }

    pub(crate) fn look_up(&self, reference: &str) -> Result<Option<Credentials>, Fault> {
        self.store().look_up(&query(reference))
    }

    /// The message of the fault.
    #[track_caller]
    pub(crate) fn fault(&self, reference: &str) -> String {
        message(self.look_up(reference))
    }
}

#[track_caller]
pub(crate) fn message(found: Result<Option<Credentials>, Fault>) -> String {
    let fault = found.expect_err("the look-up succeeded");
    assert_eq!(fault.kind(), FaultKind::Credentials, "{fault}");
    fault.message().to_owned()
}

/// A query for REGISTRY/REPOSITORY.
pub(crate) fn query(reference: &str) -> CredentialsQuery {
    let (registry, repository) = reference.split_once('/').unwrap();
    CredentialsQuery::new(registry.parse().unwrap(), repository.parse().unwrap())
}

pub(crate) fn login(username: &str, password: &str) -> Option<Credentials> {
    Credentials::login(username, password).ok()
}

pub(crate) fn base64(text: impl AsRef<[u8]>) -> String {
    STANDARD.encode(text)
}

/// A `config.json` with logins for these keys.
pub(crate) fn config(logins: &[(&str, &str)]) -> String {
    let entries: Vec<_> =
        logins.iter().map(|(key, login)| format!("{key:?}: {{\"auth\": \"{}\"}}", base64(login))).collect();
    format!("{{\"auths\": {{{}}}}}", entries.join(", "))
}

/// Asserts that a process, if there is one, ends.
#[track_caller]
pub(crate) fn assert_ends(pid: &str) {
    let until = Instant::now() + Duration::from_secs(5);
    while !pid.is_empty() && runs(pid) {
        assert!(Instant::now() < until, "{pid} still runs");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process runs. A zombie, for which only its parent can wait, does not count.
pub(crate) fn runs(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

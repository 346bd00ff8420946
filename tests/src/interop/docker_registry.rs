//! docker-registry, the reference implementation of a registry, as a child process.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use oci_proto::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::interop::program::Program;

/// The time limit for a start. It takes some 100 ms, but more on a busy machine.
const START: Duration = Duration::from_secs(30);

/// The configuration of a registry, except its address and storage directory.
#[derive(Clone, Debug)]
pub struct Settings(Value);

impl Settings {
    /// No authentication, no TLS.
    pub fn new() -> Self {
        Self(json!({
            "version": "0.1",
            // The level at which it logs its address.
            "log": { "level": "info", "accesslog": { "disabled": true } },
            "storage": {
                "delete": { "enabled": true },
                // Disabled, because it runs at random times.
                "maintenance": { "uploadpurging": { "enabled": false } },
            },
            "http": { "secret": "signs the URLs of uploads" },
        }))
    }

    /// Sets a value of the configuration file by its path of keys: `["auth", "htpasswd"]`, `["auth",
    /// "token"]`, `["http", "tls"]`.
    ///
    /// Source: docker-registry, configuration.md.
    #[must_use]
    pub fn with(mut self, keys: &[&str], value: Value) -> Self {
        let mut place = &mut self.0;
        for key in keys {
            place = &mut place[*key];
        }
        *place = value;
        self
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

/// A running registry. Dropping it stops the process and deletes its storage. If the test panics, its log is
/// printed.
#[derive(Debug)]
pub struct DockerRegistry {
    program: Program,
    child: Child,
    address: SocketAddr,
    house: TempDir,
    content: Arc<TempDir>,
}

impl DockerRegistry {
    /// Starts an empty registry on a port of 127.0.0.1, and waits until it listens.
    ///
    /// # Panics
    /// The registry does not start.
    pub fn start(program: &Program, settings: &Settings) -> Self {
        let content = TempDir::with_prefix("content-").expect("a temporary folder can be created");
        Self::with(program, settings, Arc::new(content))
    }

    /// Starts another registry with the same storage and other settings.
    ///
    /// # Panics
    /// The registry does not start.
    #[must_use]
    pub fn beside(&self, settings: &Settings) -> Self {
        Self::with(&self.program, settings, self.content.clone())
    }

    fn with(program: &Program, settings: &Settings, content: Arc<TempDir>) -> Self {
        let house = TempDir::with_prefix("docker-registry-").expect("a temporary folder can be created");
        let config = settings
            .clone()
            .with(&["storage", "filesystem"], json!({ "rootdirectory": content.path() }))
            .with(&["http", "addr"], json!("127.0.0.1:0"));
        // JSON is a subset of YAML.
        let config_path = house.path().join("config.yml");
        fs::write(&config_path, config.0.to_string()).expect("a temporary file can be written");
        let log_path = house.path().join("log");
        let log = File::create(&log_path).expect("a temporary file can be written");

        let mut child = program
            .command(house.path())
            .arg("serve")
            .arg(config_path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("an open file can be shared"))
            .stderr(log)
            .spawn()
            .expect("docker-registry was found and can be run");

        let deadline = Instant::now() + START;
        let address = loop {
            let log = fs::read_to_string(&log_path).unwrap_or_default();
            if let Some(address) = listening(&log) {
                break address;
            }
            let ended = child.try_wait().expect("the state of a child process can be read");
            if ended.is_some() || Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                panic!("docker-registry did not start; its log:\n{log}");
            }
            thread::sleep(Duration::from_millis(10));
        };
        Self { program: program.clone(), child, address, house, content }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The id of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Its output on stdout and stderr, including the access log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_else(|error| error.to_string())
    }

    /// Corrupts the blob with a sha256 digest: replaces the first `from` by `to`, which has the same length.
    ///
    /// # Panics
    /// The registry does not store the blob.
    pub fn damage(&self, digest: &Digest, from: &str, to: &str) {
        let hex = digest.encoded();
        let folder = self.content.path().join("docker/registry/v2/blobs/sha256");
        let path = folder.join(&hex[..2]).join(&hex).join("data");
        let stored = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let damaged = stored.replacen(from, to, 1);
        assert!(
            damaged != stored && damaged.len() == stored.len(),
            "replacing `{from}` by `{to}` does not corrupt {digest}"
        );
        fs::write(&path, damaged).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    fn log_path(&self) -> PathBuf {
        self.house.path().join("log")
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the test harness shows it if the test fails")]
            {
                eprintln!("the log of docker-registry on {}:\n{}", self.address, self.log());
            }
        }
    }
}

/// The address in its log, which it writes before it accepts connections.
fn listening(log: &str) -> Option<SocketAddr> {
    let (_, said) = log.split_once("listening on ")?;
    let end = said.find(|c: char| !matches!(c, '0'..='9' | '.' | ':'))?;
    said.get(..end)?.parse().ok()
}

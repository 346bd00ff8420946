//! docker-registry, the reference implementation of a registry, as a process of a test's own.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use oci_proto::Digest;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::Program;
use super::push::agent;

/// How long it may take to answer. It takes some 100 ms, and a machine that builds at the same time is slow.
const START: Duration = Duration::from_secs(30);
/// How often another port is tried, where somebody took the one that was free a moment ago.
const PORTS: usize = 10;
/// A header of every answer, by which a registry is known to be the one that was started.
const INSTANCE: &str = "x-instance";
/// The folder of what it stores.
const CONTENT: &str = "content";

/// What a registry is told besides where it listens and where it stores.
#[derive(Clone, Debug)]
pub struct Settings(Value);

impl Settings {
    /// No authentication, no TLS.
    pub fn new() -> Self {
        Self(json!({
            "version": "0.1",
            "log": { "level": "warn", "accesslog": { "disabled": false } },
            "storage": {
                "delete": { "enabled": true },
                // Would wake up at random.
                "maintenance": { "uploadpurging": { "enabled": false } },
            },
            "http": { "secret": "signs the URLs of uploads" },
        }))
    }

    /// Sets a part of the configuration file, which is named by the keys that lead there: `["auth",
    /// "htpasswd"]`, `["auth", "token"]`, `["http", "tls"]`.
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

/// A registry that is running. It ends, and what it stores goes, when this is dropped; where a test
/// panics, its log is shown.
#[derive(Debug)]
pub struct DockerRegistry {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

impl DockerRegistry {
    /// Starts an empty registry on a port of 127.0.0.1, and waits until it answers.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(program: &Program, settings: &Settings) -> Self {
        for _ in 0..PORTS {
            match Self::try_start(program, settings) {
                Ok(registry) => return registry,
                Err(log) if log.contains("address already in use") => {}
                Err(log) => panic!("docker-registry did not start; its log:\n{log}"),
            }
        }
        panic!("docker-registry met no free port in {PORTS} attempts");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has written to stdout and stderr, the access log among it.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_else(|error| error.to_string())
    }

    /// Changes what it stores under a digest of sha256: replaces the first `from` by `to`, which is as long.
    ///
    /// # Panics
    /// It does not store that.
    pub fn damage(&self, digest: &Digest, from: &str, to: &str) {
        let hex = digest.encoded();
        let folder = self.folder.path().join(CONTENT).join("docker/registry/v2/blobs/sha256");
        let path = folder.join(&hex[..2]).join(&hex).join("data");
        let stored = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let damaged = stored.replacen(from, to, 1);
        assert!(
            damaged != stored && damaged.len() == stored.len(),
            "`{from}` to `{to}` is no damage to {digest}"
        );
        fs::write(&path, damaged).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Fails with its log where it ends before it answers.
    fn try_start(program: &Program, settings: &Settings) -> Result<Self, String> {
        let folder = TempDir::with_prefix("docker-registry-").expect("a temporary folder can be made");
        let address = free_address().expect("there is a free port");
        let instance = folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();

        let mut headers = Map::new();
        headers.insert(INSTANCE.into(), json!([instance]));
        let config = settings
            .clone()
            .with(&["storage", "filesystem"], json!({ "rootdirectory": folder.path().join(CONTENT) }))
            .with(&["http", "addr"], json!(address))
            .with(&["http", "headers"], headers.into());
        // JSON is YAML.
        let config_path = folder.path().join("config.yml");
        fs::write(&config_path, config.0.to_string()).expect("a temporary file can be written");
        let log = File::create(folder.path().join("log")).expect("a temporary file can be written");

        let child = program
            .command(folder.path())
            .arg("serve")
            .arg(config_path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("an open file can be shared"))
            .stderr(log)
            .spawn()
            .expect("docker-registry can be started, since it was found");
        let mut registry = Self { child, address, folder };

        let deadline = Instant::now() + START;
        while !registry.answers(&instance) {
            let ended = registry.child.try_wait().expect("the state of a child can be asked");
            if ended.is_some() || Instant::now() > deadline {
                return Err(registry.log());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(registry)
    }

    /// Whether it answers end-1, be it with 401; it, and not whoever else took its port.
    fn answers(&self, instance: &str) -> bool {
        let answer = agent().get(format!("http://{}/v2/", self.address)).call();
        answer.is_ok_and(|answer| answer.headers().get(INSTANCE).is_some_and(|value| value == instance))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the failed test shows it")]
            {
                eprintln!("the log of docker-registry on {}:\n{}", self.address, self.log());
            }
        }
    }
}

/// An address that was free when it was asked for. Port 0 is no use: the registry would not tell which
/// port it got.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

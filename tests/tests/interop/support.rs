//! Helpers for several tests: fill a registry, read all of its content, run the command.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::{fmt, thread};

use oci_proto::server::Content as _;
use oci_proto::{Reference, WalkOptions};
use oci_proto_tests::adapter::Adapter;
use oci_proto_tests::interop::{DockerRegistry, Program, Pusher, Sample, Settings, line, listing, ocip};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const REPOSITORY: &str = "team/nested";

/// A docker-registry with the sample; `None` if it is not installed.
pub(crate) fn filled(sample: &Sample) -> Option<DockerRegistry> {
    let program = Program::find("docker-registry", "docker-registry")?;
    let registry = DockerRegistry::start(&program, &Settings::new());
    Pusher::new(registry.address(), REPOSITORY, &sample.memory).push("latest", &sample.root).unwrap();
    Some(registry)
}

/// The sample's root by its tag.
pub(crate) fn root(registry: impl fmt::Display) -> Reference {
    format!("{registry}/{REPOSITORY}:latest").parse().unwrap()
}

/// Walks the sample, and returns the requested manifests.
#[track_caller]
pub(crate) fn walks(adapter: &dyn Adapter, root: &Reference, sample: &Sample) {
    let nodes = adapter.walk(root, WalkOptions::default());
    let nodes = nodes.unwrap_or_else(|error| panic!("{}: {error}", adapter.name()));
    let lines: Vec<Value> = nodes.iter().map(line).collect();
    assert_eq!(lines, listing(&sample.memory, &sample.root), "{}", adapter.name());
}

/// Downloads the sample's blobs, with and without their sizes.
#[track_caller]
pub(crate) fn downloads(adapter: &dyn Adapter, root: &Reference, sample: &Sample) {
    for (index, blob) in sample.blobs.iter().enumerate() {
        let size = Some(blob.size).filter(|_| index % 2 == 0);
        let bytes = adapter.blob(&root.at(blob.digest.clone()), size);
        let bytes = bytes.unwrap_or_else(|error| panic!("{}: {error}", adapter.name()));
        let held = sample.memory.bytes(&blob.digest).unwrap();
        assert!(bytes == held, "{}: {} has other bytes", adapter.name(), blob.digest);
    }
}

/// `ocip` with its own home directory, without configuration.
pub(crate) struct Ocip {
    pub(crate) home: TempDir,
}

impl Ocip {
    pub(crate) fn new() -> Self {
        Self { home: TempDir::with_prefix("ocip-").unwrap() }
    }

    pub(crate) fn command(&self, adapter: &str, arguments: &[&str]) -> Command {
        let mut command = ocip();
        command.env_clear().env("HOME", self.home.path()).env("XDG_RUNTIME_DIR", self.home.path());
        command.args(["--adapter", adapter]).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs it with this input.
    pub(crate) fn run(&self, adapter: &str, arguments: &[&str], stdin: &str) -> Output {
        let mut command = self.command(adapter, arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may exit without reading its input.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Prints the sample's tree and its blobs, on both adapters at once.
    pub(crate) fn prints(&self, root: &Reference, sample: &Sample, login: &[&str], stdin: &str) {
        thread::scope(|scope| {
            for adapter in ["tokio", "ureq"] {
                scope.spawn(move || self.prints_on(adapter, root, sample, login, stdin));
            }
        });
    }

    /// Prints the sample's tree, and then its blobs concurrently; all must be right.
    pub(crate) fn prints_on(
        &self,
        adapter: &str,
        root: &Reference,
        sample: &Sample,
        login: &[&str],
        stdin: &str,
    ) {
        let run = |arguments: &[&str]| {
            let arguments = [arguments, login].concat();
            let output = self.run(adapter, &arguments, stdin);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "ocip --adapter {adapter} {arguments:?}: {stderr}");
            output.stdout
        };
        let tree = run(&["tree", "--json", &root.to_string()]);
        let lines: Vec<Value> =
            tree.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        assert_eq!(lines, listing(&sample.memory, &sample.root), "{adapter}");
        thread::scope(|scope| {
            for blob in &sample.blobs {
                scope.spawn(|| {
                    let name = root.at(blob.digest.clone()).to_string();
                    let held = sample.memory.bytes(&blob.digest).unwrap();
                    assert!(run(&["blob", &name]) == held, "{adapter}: {name} has other bytes");
                });
            }
        });
    }
}

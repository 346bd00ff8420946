//! The programs of this workspace, built by the cargo that builds the tests.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// A command that runs this workspace's `ocip`.
///
/// # Panics
/// The build fails.
pub fn ocip() -> Command {
    program("ocip")
}

/// A command that runs an example of this workspace.
///
/// # Panics
/// There is no such example, or the build fails.
pub fn example(name: &str) -> Command {
    program(name)
}

fn program(name: &str) -> Command {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    let programs = BUILT.get_or_init(build);
    Command::new(programs.get(name).unwrap_or_else(|| panic!("{name} is not among {:?}", programs.keys())))
}

/// Builds all programs.
///
/// cargo gives the path of a binary only to tests of its own package, so this runs a build. If
/// nothing has changed, the build does nothing: its programs, features and target directory are those of
/// `cargo test --workspace`.
fn build() -> BTreeMap<String, PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--workspace", "--bins", "--examples"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    // The variables that cargo sets for a test describe its package. Build scripts that watch them would run
    // again, here and in the next build.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if text == "CARGO" || told.iter().any(|prefix| text.starts_with(prefix)) {
            cargo.env_remove(&name);
        }
    }
    let built = cargo.output().expect("the cargo that built the tests can be run");
    assert!(built.status.success(), "the programs do not build: {}", built.status);
    let messages = String::from_utf8_lossy(&built.stdout);
    messages
        .lines()
        .filter_map(|message| serde_json::from_str::<Value>(message).ok())
        .filter_map(|message| {
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, message["executable"].as_str()?.into()))
        })
        .collect()
}

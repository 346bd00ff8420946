//! The programs of this workspace, built by the cargo that builds the tests.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// A command that runs `ocip` as it is in this workspace.
///
/// # Panics
/// It cannot be built.
pub fn ocip() -> Command {
    program("ocip")
}

/// A command that runs an example of this workspace.
///
/// # Panics
/// There is no such example, or it cannot be built.
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
/// cargo tells only a package's own tests where its binary is, so this asks for a build, which is none
/// where nothing changed: what is built is what `cargo test --workspace` builds, with the same features.
/// The target folder is cargo's choice, as ever.
fn build() -> BTreeMap<String, PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--workspace", "--bins", "--examples"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    // What cargo tells the tests about their package is not for the build of another one: build scripts
    // that watch these variables would run again, here and in the next build.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if text == "CARGO" || told.iter().any(|prefix| text.starts_with(prefix)) {
            cargo.env_remove(&name);
        }
    }
    let built = cargo.output().expect("the cargo that built the tests can be started");
    assert!(built.status.success(), "the programs cannot be built: {}", built.status);
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

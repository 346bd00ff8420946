//! The command `ocip`, built by the cargo that builds the tests.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// A command that runs `ocip` as it is in this workspace.
///
/// cargo tells only a package's own tests where its binary is, so this asks for a build, which is none
/// where nothing changed. The target folder is cargo's choice, as ever.
///
/// # Panics
/// It cannot be built.
pub fn ocip() -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    Command::new(BUILT.get_or_init(build))
}

fn build() -> PathBuf {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--package", "oci-proto-cli", "--bin", "ocip"])
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
    assert!(built.status.success(), "ocip cannot be built: {}", built.status);
    let messages = String::from_utf8_lossy(&built.stdout);
    messages
        .lines()
        .filter_map(|message| serde_json::from_str::<Value>(message).ok())
        .filter(|message| message["target"]["name"] == "ocip")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names the executable that it built")
}

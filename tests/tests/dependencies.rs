//! The dependencies of the core: none does I/O, and each is listed here. The licences and the sources of all dependencies.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use spdx::{Expression, LicenseReq, ParseMode, license_id};

/// The dependencies of the core without the feature `oci-spec`, including the core itself. Add a crate here
/// together with the direct dependency that needs it, and give the reason in `core/Cargo.toml`.
const CORE: &[&str] = &[
    "oci-proto",
    "base64",
    "bytes",
    "httpdate",
    // http
    "http",
    "itoa",
    // serde, serde_json
    "memchr",
    "serde",
    "serde_core",
    "serde_json",
    "zmij",
    // sha2
    "block-buffer",
    "cfg-if",
    "cpufeatures",
    "crypto-common",
    "digest",
    "hybrid-array",
    "sha2",
    "typenum",
    // thiserror
    "proc-macro2",
    "quote",
    "syn",
    "thiserror",
    "thiserror-impl",
    "unicode-ident",
];

/// Additional crates on some platforms: cpufeatures queries Linux and macOS about arm64 processors.
const ARM64: &[&str] = &["libc"];

/// Additional crates with the feature `oci-spec`.
const OCI_SPEC: &[&str] = &[
    "aho-corasick",
    "const_format",
    "const_format_proc_macros",
    "darling",
    "darling_core",
    "darling_macro",
    "derive_builder",
    "derive_builder_core",
    "derive_builder_macro",
    "fnv",
    "getset",
    "heck",
    "ident_case",
    "konst",
    "konst_macro_rules",
    "oci-spec",
    "regex",
    "regex-automata",
    "regex-syntax",
    "serde_derive",
    "strsim",
    "strum",
    "strum_macros",
    "unicode-xid",
];

/// Crates that do I/O, read clocks, start threads or draw random numbers. They are never allowed.
const IMPURE: &[&str] = &[
    "async-std",
    "chrono",
    "curl",
    "fastrand",
    "getrandom",
    "hyper",
    "hyper-util",
    "jiff",
    "mio",
    "native-tls",
    "openssl",
    "rand",
    "rand_core",
    "rayon",
    "reqwest",
    "ring",
    "rustix",
    "rustls",
    "smol",
    "socket2",
    "time",
    "tokio",
    "tokio-util",
    "ureq",
    "windows-sys",
];

/// The licences that permit a program under either licence of this project, without conditions but to name the authors.
const LICENCES: &[&str] =
    &["Apache-2.0", "BSD-3-Clause", "CDLA-Permissive-2.0", "ISC", "MIT", "Unicode-3.0", "Zlib"];

#[test]
fn the_dependencies_of_the_core_are_those_listed() {
    for (target, more) in [("x86_64-unknown-linux-gnu", &[][..]), ("aarch64-unknown-linux-gnu", ARM64)] {
        let without = [CORE, more].concat();
        assert_tree(&tree(target, &["--no-default-features"]), &without, target);
        assert_tree(&tree(target, &[]), &[&without, OCI_SPEC].concat(), target);
    }
}

#[test]
fn no_dependency_of_the_core_does_io() {
    for target in ["x86_64-unknown-linux-gnu", "aarch64-apple-darwin", "x86_64-pc-windows-msvc"] {
        for features in [&[][..], &["--no-default-features"]] {
            let impure: Vec<_> =
                tree(target, features).into_iter().filter(|krate| IMPURE.contains(&name(krate))).collect();
            assert!(impure.is_empty(), "dependencies of the core, on {target}: {impure:?}");
        }
    }
}

#[test]
fn the_core_builds_at_most_26_crates() {
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let tree = tree(target, &["--no-default-features"]);
        assert!(tree.len() <= 26, "{} crates on {target}: {tree:?}", tree.len());
    }
}

#[test]
fn every_dependency_is_from_the_registry_under_a_permissive_licence() {
    for package in packages() {
        let name = package["name"].as_str().expect("a package has a name");
        let source = package["source"].as_str();
        // Those of this workspace have none.
        let is_ours = source.is_none() && name.starts_with("oci-proto");
        let is_registry = source.is_some_and(|source| source.starts_with("registry+"));
        assert!(is_ours || is_registry, "{name} is from {source:?}");
        let licence = package["license"].as_str().unwrap_or_default();
        let parsed = Expression::parse_mode(licence, ParseMode::LAX);
        let parsed = parsed.unwrap_or_else(|error| panic!("{name}: {error}"));
        let permits =
            |asked: &LicenseReq| LICENCES.iter().any(|known| asked.license.id() == license_id(known));
        assert!(parsed.evaluate(permits), "{name} is under {licence}");
    }
}

#[test]
fn the_command_contains_each_crate_once() {
    /// ring still requires an old version.
    const SEVERAL: &str = "getrandom";
    for target in ["x86_64-unknown-linux-gnu", "aarch64-apple-darwin"] {
        let mut versions = BTreeMap::<_, Vec<_>>::new();
        let tree = tree_of("oci-proto-cli", target, &[]);
        for krate in &tree {
            versions.entry(name(krate)).or_default().push(krate);
        }
        versions.retain(|name, several| several.len() > 1 && *name != SEVERAL);
        assert!(versions.is_empty(), "on {target}: {versions:?}");
    }
}

/// All packages that any feature needs on any platform.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--all-features", "--format-version", "1"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("the cargo that built the tests can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {}: {said}", output.status);
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    match metadata["packages"].take() {
        Value::Array(packages) => packages,
        other => panic!("{other}"),
    }
}

#[track_caller]
fn assert_tree(tree: &BTreeSet<String>, decided: &[&str], target: &str) {
    let decided: BTreeSet<_> = decided.iter().copied().collect();
    let found: BTreeSet<_> = tree.iter().map(|krate| name(krate)).collect();
    let new: Vec<_> = found.difference(&decided).collect();
    let gone: Vec<_> = decided.difference(&found).collect();
    assert!(new.is_empty() && gone.is_empty(), "on {target}: unlisted {new:?}, no longer needed {gone:?}");
}

/// The crates that the core is built from, itself included, as `NAME vVERSION`.
fn tree(target: &str, features: &[&str]) -> BTreeSet<String> {
    tree_of("oci-proto", target, features)
}

/// The crates that a package is built from, like [`tree`].
fn tree_of(package: &str, target: &str, features: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--package", package, "--edges", "normal", "--target", target])
        .args(["--prefix", "none", "--no-dedupe"])
        .args(features)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .expect("the cargo that built the tests can be run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree: {}: {said}", output.status);
    let text = String::from_utf8(output.stdout).expect("names are ASCII");
    text.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
}

/// The name of a crate.
fn name(krate: &str) -> &str {
    krate.split(' ').next().unwrap_or(krate)
}

//! The dependencies of the core: none does I/O, and each is listed here.

use std::collections::BTreeSet;
use std::process::Command;

/// The dependencies of the core without the feature `oci-spec`, including the core itself. Add a crate here
/// together with the direct dependency that needs it, and give the reason in `core/Cargo.toml`.
const CORE: &[&str] = &[
    "oci-proto",
    "base64",
    "bytes",
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
fn the_core_builds_at_most_25_crates() {
    for target in ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"] {
        let tree = tree(target, &["--no-default-features"]);
        assert!(tree.len() <= 25, "{} crates on {target}: {tree:?}", tree.len());
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
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--package", "oci-proto", "--edges", "normal", "--target", target])
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

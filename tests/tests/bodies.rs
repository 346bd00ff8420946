//! Runs the bodies of the fuzz targets on their seeds, on slightly damaged seeds and on arbitrary bytes; and
//! checks that bodies, targets and seeds correspond.
#![expect(clippy::print_stdout, reason = "the last line printed by a failing test is its seed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use oci_proto_tests::bodies;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

macro_rules! bodies {
    ($($body:ident)*) => {
        const BODIES: &[&str] = &[$(stringify!($body)),*];

        $(#[test]
        fn $body() {
            keeps_its_promises(stringify!($body), bodies::$body);
        })*
    };
}

bodies! {
    challenge content_range credentials digest error_body exchange layout_index layout_marker layout_reference link
    list location manifest media_type platform range reference registry retry_after scope server session simulation token upload
    warning writing
}

fn keeps_its_promises(name: &str, body: fn(&[u8])) {
    let files = files(&fuzz(&format!("corpus/{name}")));
    assert!(!files.is_empty(), "fuzz/corpus/{name} has no seeds");
    let mut seeds = Vec::new();
    for file in files {
        let seed = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        println!("{}", file.display());
        body(&seed);
        seeds.push(seed);
    }
    println!("noise");
    let config = ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(data in prop_oneof![1 => vec(any::<u8>(), 0..100), 9 => damaged(seeds)])| body(&data));
}

#[test]
fn each_body_has_a_target_and_seeds() {
    let bodies: BTreeSet<_> = BODIES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(public_functions(), bodies, "the bodies in tests/src must be those that run here");
    assert_eq!(names(&fuzz("corpus")), bodies, "each body must have a folder in fuzz/corpus");
    assert_eq!(names(&fuzz("fuzz_targets")), bodies, "each body must have a file in fuzz/fuzz_targets");

    let dictionaries = names(&fuzz("dictionaries"));
    assert!(dictionaries.is_subset(&bodies), "dictionaries without a body: {dictionaries:?}");

    let manifest = read(&fuzz("Cargo.toml"));
    for name in bodies {
        let target = read(&fuzz(&format!("fuzz_targets/{name}.rs")));
        assert!(target.contains(&format!("bodies::{name}(data)")), "{name}.rs must run its body");
        assert!(target.starts_with("//! "), "{name}.rs must state its property");
        assert!(manifest.contains(&format!("\nname = \"{name}\"\n")), "{name} is not in fuzz/Cargo.toml");
    }
}

/// The functions of `bodies` that accept any bytes.
fn public_functions() -> BTreeSet<String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut texts = vec![read(&sources.join("bodies.rs"))];
    texts.extend(files(&sources.join("bodies")).iter().map(|file| read(file)));
    let functions = texts.iter().flat_map(|text| text.split("\npub fn ").skip(1));
    functions.filter_map(|text| text.split_once("(data: &[u8])")).map(|(name, _)| name.to_owned()).collect()
}

fn fuzz(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files in a directory, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    files.sort();
    files
}

/// The names in a directory, without extensions.
fn names(folder: &Path) -> BTreeSet<String> {
    files(folder).iter().filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect()
}

/// A change to a seed.
#[derive(Clone, Debug)]
enum Damage {
    Replace(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Repeat(Index, Index),
    Truncate(Index),
    Splice(Index, Vec<u8>),
}

fn damaged(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), select(br#" ,;="\/:@.-_*?#<>[]{}()0AaZz%"#.to_vec())];
    let damage = prop_oneof![
        (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        (any::<Index>(), byte).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<Index>().prop_map(Damage::Remove),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Repeat(from, to)),
        any::<Index>().prop_map(Damage::Truncate),
        (any::<Index>(), select(seeds.clone())).prop_map(|(at, seed)| Damage::Splice(at, seed)),
    ];
    (select(seeds), vec(damage, 0..4)).prop_map(|(seed, damages)| damages.into_iter().fold(seed, apply))
}

fn apply(mut bytes: Vec<u8>, damage: Damage) -> Vec<u8> {
    let len = bytes.len();
    match damage {
        Damage::Insert(at, byte) => bytes.insert(at.index(len + 1), byte),
        Damage::Splice(at, seed) => {
            let at = at.index(len + 1);
            bytes.splice(at..at, seed);
        }
        _ if len == 0 => {}
        Damage::Replace(at, byte) => bytes[at.index(len)] = byte,
        Damage::Remove(at) => drop(bytes.remove(at.index(len))),
        Damage::Truncate(at) => bytes.truncate(at.index(len)),
        Damage::Repeat(from, to) => {
            let (from, to) = (from.index(len), to.index(len));
            let part = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.splice(from..from, part);
        }
    }
    bytes
}

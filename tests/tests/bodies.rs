//! Runs each body over noise: any bytes, and samples that were damaged a little.

use oci_proto_tests::bodies;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// One thing that happens to a sample.
#[derive(Clone, Debug)]
enum Damage {
    Replace(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Repeat(Index, Index),
    Truncate(Index),
    Splice(Index, &'static str),
}

fn damaged(samples: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), select(br#" ,;="\/:@.-_*?#<>[]()0AaZz%"#.to_vec()),];
    let damage = prop_oneof![
        (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        (any::<Index>(), byte).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<Index>().prop_map(Damage::Remove),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Repeat(from, to)),
        any::<Index>().prop_map(Damage::Truncate),
        (any::<Index>(), select(samples)).prop_map(|(at, sample)| Damage::Splice(at, sample)),
    ];
    (select(samples), vec(damage, 0..4))
        .prop_map(|(sample, damages)| damages.iter().fold(sample.as_bytes().to_vec(), apply))
}

fn apply(mut bytes: Vec<u8>, damage: &Damage) -> Vec<u8> {
    let len = bytes.len();
    match *damage {
        Damage::Insert(ref at, byte) => bytes.insert(at.index(len + 1), byte),
        Damage::Splice(ref at, sample) => {
            let at = at.index(len + 1);
            bytes.splice(at..at, sample.bytes());
        }
        _ if len == 0 => {}
        Damage::Replace(ref at, byte) => bytes[at.index(len)] = byte,
        Damage::Remove(ref at) => drop(bytes.remove(at.index(len))),
        Damage::Truncate(ref at) => bytes.truncate(at.index(len)),
        Damage::Repeat(ref from, ref to) => {
            let (from, to) = (from.index(len), to.index(len));
            let part = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.splice(from..from, part);
        }
    }
    bytes
}

macro_rules! noise {
    ($($body:ident: $($sample:expr),+;)*) => {$(
        #[test]
        fn $body() {
            const SAMPLES: &[&str] = &[$($sample),+];
            for sample in SAMPLES {
                bodies::$body(sample.as_bytes());
            }
            let config = ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() };
            proptest!(config, |(data in prop_oneof![1 => vec(any::<u8>(), 0..100), 9 => damaged(SAMPLES)])| {
                bodies::$body(&data);
            });
        }
    )*};
}

const SHA256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

noise! {
    reference: "ubuntu", "docker.io/library/ubuntu:24.04", "localhost:5000/a/b:c", "[2001:db8::1]:443/a__b/c-d",
        "10.0.0.1:80/x.y/z:_", "GHCR.io/a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "x.y/z:1@multihash+base58:QmRZ", "index.docker.io", "registry:0443", "https://me:secret@ghcr.io/x";
    digest: SHA256, "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8",
        "sha384:cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7";
    platform: "linux/amd64\nlinux/amd64/v3\nlinux/x86_64", "linux/arm\nlinux/arm/7\nlinux/armel\nlinux/arm/v8",
        "linux/arm64\nlinux/arm64/v9.1\nlinux/aarch64/8", "windows(10.0.17763.1)/amd64\nwindows(10.0.17763.2)/amd64",
        "unknown/unknown", "macos/arm64";
    media_type: "application/vnd.oci.image.index.v1+json; charset=utf-8", "text/html", "Application/JSON ;x";
    challenge: "Bearer realm=\"https://a/b\",service=\"c\",scope=\"repository:x:pull\"", "Negotiate YWJj==, Basic a=b",
        "Basic realm=\"a \\\"b\\\"\", , Bearer service=,scope = y", "A, B c, D", "Bearer service=,realm=x";
    link: "</v2/_catalog?last=b&n=2>; rel=\"next\"", "<a,b>; rel=\"x y\", , <https://h/c>;rel=next; title=\"z\\\"\"",
        "<>;;rel;anchor=\"#x\", <b>";
    content_range: "bytes 42-1233/1234", "bytes 42-1233/*", "bytes */1234",
        "bytes 0-18446744073709551614/18446744073709551615";
    range: "bytes=0-", "bytes=3-99", "bytes=-5", "bytes= , 1-2 ,", "bytes=0-1,3-4", "bytes=0-18446744073709551615";
    retry_after: "120\nSun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT\nSun Nov  6 08:49:37 1994",
        "Sunday, 06-Nov-94 08:49:37 GMT\nFri, 31 Dec 9999 23:59:60 GMT", "Sat, 01 Jan 0000 00:00:00 GMT";
    location: "https://h:80/a/../b?c#d", "//h/./x", "../../g;x=1/./y\nhttp://a/b/c/d;p?q", "?y\nhttps://[::1]:5000/x",
        "#s", "http://user@h/", "/a/b/..\nhttp://a";
    warning: "299 - \"a, \\\"b\\\" \\\\\", ,299 - \"c\"", "299 - \"d\" \"Sun, 06 Nov 1994 08:49:37 GMT\"",
        "110 h:80 \"stale\",299 - \"gr\u{fc}n\"";
}

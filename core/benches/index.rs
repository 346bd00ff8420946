//! Parses large indexes, compared with `oci-spec` and `serde_json::Value`.
//!
//! After criterion's output, the benchmark prints ratios from runs that alternate between the parsers, so
//! that a busy machine slows both.
#![expect(clippy::disallowed_types, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use oci_proto::{Algorithm, Digest, Evidence, Manifest};
use oci_spec::image::ImageIndex;

const DESCRIPTORS: usize = 20_000;
const RUNS: usize = 101;

fn main() {
    let documents = [("bare", bare()), ("with platforms and annotations", realistic())];

    let mut criterion = Criterion::default().configure_from_args();
    for (name, document) in &documents {
        let mut group = criterion.benchmark_group(format!("index, {name}"));
        group.throughput(Throughput::Bytes(document.len() as u64));
        group.bench_function("oci-proto", |bench| bench.iter(|| strict(document)));
        group.bench_function("oci-spec", |bench| bench.iter(|| typed(document)));
        group.bench_function("serde_json::Value", |bench| bench.iter(|| value(document)));
        group.finish();
    }
    criterion.final_summary();

    for (name, document) in &documents {
        let ratio = ratio(|| strict(document), || typed(document));
        println!(
            "index of {DESCRIPTORS} descriptors, {name} ({} bytes): oci-spec takes {ratio:.2} times as long",
            document.len()
        );
    }
}

/// Parses with all checks, and visits each entry.
fn strict(document: &Bytes) -> u64 {
    let manifest = Manifest::read(document.clone(), Evidence::default()).expect("a valid index");
    manifest.entries().fold(0, |sum, entry| {
        black_box((entry.digest(), entry.media_type()));
        sum + entry.size()
    })
}

fn typed(document: &Bytes) -> u64 {
    let index: ImageIndex = serde_json::from_slice(document).expect("a valid index");
    index.manifests().iter().fold(0, |sum, entry| {
        black_box((entry.digest(), entry.media_type()));
        sum + entry.size()
    })
}

fn value(document: &Bytes) -> usize {
    let value: serde_json::Value = serde_json::from_slice(document).expect("JSON");
    value["manifests"].as_array().expect("an array").len()
}

/// Returns the time of the second relative to the first: the ratio of the medians of alternating runs.
fn ratio<A, B>(first: impl Fn() -> A, second: impl Fn() -> B) -> f64 {
    let (mut firsts, mut seconds) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        firsts.push(time(&first));
        seconds.push(time(&second));
    }
    median(seconds).as_secs_f64() / median(firsts).as_secs_f64()
}

fn time<T>(run: impl Fn() -> T) -> Duration {
    let start = Instant::now();
    black_box(run());
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn bare() -> Bytes {
    index(|_| String::new())
}

/// An index with a platform and annotations in each entry, like the large index of a build farm.
fn realistic() -> Bytes {
    const PLATFORMS: [&str; 4] = [
        r#""os":"linux","architecture":"amd64""#,
        r#""os":"linux","architecture":"arm64","variant":"v8""#,
        r#""os":"windows","architecture":"amd64","os.version":"10.0.17763.1999""#,
        r#""os":"unknown","architecture":"unknown""#,
    ];
    index(|number| {
        let platform = PLATFORMS[number % PLATFORMS.len()];
        let revision = Digest::of(Algorithm::Sha256, format!("revision {number}").as_bytes()).encoded();
        format!(
            concat!(
                r#","platform":{{{}}},"annotations":{{"org.opencontainers.image.ref.name":"v1.{}","#,
                r#""org.opencontainers.image.created":"2026-01-02T03:04:05Z","#,
                r#""org.opencontainers.image.revision":"{}"}}"#
            ),
            platform,
            number,
            &revision[..40]
        )
    })
}

fn index(more: impl Fn(usize) -> String) -> Bytes {
    let entries: Vec<String> = (0..DESCRIPTORS)
        .map(|number| {
            let digest = Digest::of(Algorithm::Sha256, &number.to_le_bytes());
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{}{}}}"#,
                500 + number,
                more(number)
            )
        })
        .collect();
    let document = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
        entries.join(",")
    );
    document.into()
}

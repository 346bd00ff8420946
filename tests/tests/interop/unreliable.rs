//! Unreliable networks and busy registries: all content is read as without them, and credentials reach
//! only their own server.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use oci_proto::server::Server;
use oci_proto::{Algorithm, Config, Credentials, Descriptor, Hasher};
use oci_proto_common::Settings;
use oci_proto_tests::adapter::{Adapter, Blob, Make};
use oci_proto_tests::clients::MAKERS;
use oci_proto_tests::interop::{Disruption, Proxy, Requester, Rules, Sample, Seen, Served};
use oci_proto_tokio::credentials::Store;
use tokio::io::AsyncWrite;

use crate::support::{Ocip, REPOSITORY, downloads, filled, root, walks};

const USER: &str = "somebody";
const PASSWORD: &str = "correct horse";

/// Large enough to be cut two dozen times, and small enough for an unoptimized test.
const LARGE: usize = 16 << 20;

/// The core's registry with the sample in it.
fn served(sample: &Sample) -> Served {
    let mut server = Server::new();
    let (repository, tag) = (REPOSITORY.parse().unwrap(), "latest".parse().unwrap());
    server.add(&repository, Some(&tag), &sample.root, &sample.memory).unwrap();
    Served::start(server, sample.memory.clone())
}

/// Only the logged-in user gets tokens.
fn rules() -> Rules {
    let mut rules = Rules::default();
    rules.anonymous = false;
    rules.login = Some((USER.to_owned(), PASSWORD.to_owned()));
    rules
}

/// A client with credentials and short retry delays.
fn client(make: Make, proxy: &Proxy) -> Box<dyn Adapter> {
    let mut config = Config::default();
    config.limits.backoff_first = Duration::from_millis(5);
    let login = Credentials::login(USER, PASSWORD).unwrap();
    let store = Store::none().login(proxy.address().to_string().parse().unwrap(), login);
    make(&Settings::default().credentials(store).config(config))
}

/// Reads the whole sample through these disruptions with each adapter, and checks the proxy's record.
fn through(disruptions: &[Disruption], sample: &Sample, seen: impl Fn(&str, &Seen) + Sync) {
    let served = served(sample);
    thread::scope(|scope| {
        for (seed, (name, make)) in [7, 11].into_iter().flat_map(|seed| MAKERS.map(|maker| (seed, maker))) {
            let (served, seen) = (&served, &seen);
            scope.spawn(move || {
                let proxy = Proxy::with(served.address(), disruptions, seed, rules());
                let client = client(make, &proxy);
                let root = root(proxy.address());
                walks(&*client, &root, sample);
                downloads(&*client, &root, sample);
                let met = proxy.take();
                let label = format!("{name}, seed {seed}: {met:?}");
                assert_eq!(client.requests(), met.requests(), "{label}");
                assert!(met.shown_elsewhere.is_empty(), "{label}");
                seen(&label, &met);
            });
        }
    });
}

/// The paths of the sample: the root by its tag, eleven manifests, and three nonempty blobs.
const PATHS: u64 = 1 + 11 + 3;

#[test]
fn a_first_failure_is_retried() {
    through(&[Disruption::FailsFirst], &Sample::nested(), |label, seen| {
        assert_eq!((seen.failures(), seen.of("served")), (PATHS, PATHS), "{label}");
        for outcome in ["unavailable", "closed", "reset"] {
            assert!(seen.of(outcome) > 0, "{label}");
        }
    });
}

#[test]
fn redirects_to_another_origin_are_followed_without_credentials() {
    through(&[Disruption::Redirects, Disruption::WantsToken], &Sample::nested(), |label, seen| {
        assert_eq!((seen.of("redirected"), seen.of("served")), (PATHS, PATHS + 1), "{label}");
        assert_eq!(seen.of("expired"), 0, "{label}");
    });
}

#[test]
fn one_challenge_and_one_token_are_enough() {
    through(&[Disruption::WantsToken], &Sample::nested(), |label, seen| {
        assert_eq!((seen.of("challenged"), seen.of("served")), (1, PATHS + 1), "{label}");
    });
}

#[test]
fn a_blob_cut_in_half_each_time_completes() {
    through(&[Disruption::CutsBlobs], &Sample::nested_with(LARGE), |label, seen| {
        // Each request delivers half of the rest, and the last one the last byte.
        assert!(seen.of("cut") > LARGE.ilog2().into(), "{label}");
        assert_eq!(seen.of("served"), PATHS, "{label}");
    });
}

#[test]
fn a_throttled_client_waits() {
    through(&[Disruption::Throttles], &Sample::nested(), |label, seen| {
        assert!(seen.of("throttled") > 0, "{label}");
        assert_eq!(seen.of("served"), PATHS, "{label}");
    });
}

#[test]
fn all_disruptions_together_change_no_result() {
    through(&Disruption::ALL, &Sample::nested_with(LARGE), |label, seen| {
        for outcome in ["unavailable", "closed", "reset", "throttled", "challenged", "redirected", "cut"] {
            assert!(seen.of(outcome) > 0, "{label}");
        }
    });
}

#[test]
fn ocip_reads_docker_registry_through_all_disruptions() {
    let sample = Sample::nested_with(100_000);
    let Some(registry) = filled(&sample) else { return };
    let (ocip, login) = (Ocip::new(), ["--username", USER, "--password-stdin"]);
    let reads = &|adapter: &str| {
        let proxy = Proxy::with(registry.address(), &Disruption::ALL, 5, rules());
        ocip.prints_on(adapter, &root(proxy.address()), &sample, &login, PASSWORD);
        let (seen, tokens) = (proxy.take(), proxy.take_tokens());
        assert!(seen.shown_elsewhere.is_empty(), "{adapter}: {seen:?}");
        for outcome in ["unavailable", "closed", "reset", "throttled", "challenged", "redirected", "cut"] {
            assert!(seen.of(outcome) > 0, "{adapter}: {seen:?}");
        }
        let requesters: Vec<Requester> = tokens.iter().map(|request| request.requester).collect();
        assert_eq!(
            requesters,
            [Requester::User; 4],
            "{adapter}: one for a tree, and one for each of three blobs"
        );
    };
    thread::scope(|scope| {
        for adapter in ["tokio", "ureq"] {
            scope.spawn(move || reads(adapter));
        }
    });
}

/// Figures of a 300 MB blob; CONTRIBUTING.md has the command.
#[test]
#[ignore = "prints figures, and is slow without optimisation"]
#[expect(clippy::print_stdout, reason = "prints the figures")]
fn figures_of_a_large_blob() {
    const BYTES: usize = 300_000_000;
    let sample = Sample::nested_with(BYTES);
    let large: &Descriptor = sample.blobs.iter().max_by_key(|blob| blob.size).unwrap();
    let served = served(&sample);
    for (what, disruptions) in
        [("none", &[][..]), ("cuts", &[Disruption::CutsBlobs]), ("all", &Disruption::ALL)]
    {
        for (name, make) in MAKERS {
            let proxy = Proxy::with(served.address(), disruptions, 3, rules());
            let login = Credentials::login(USER, PASSWORD).unwrap();
            let registry = proxy.address().to_string().parse().unwrap();
            let client = make(&Settings::default().credentials(Store::none().login(registry, login)));
            let root = root(proxy.address());

            let start = Instant::now();
            walks(&*client, &root, &sample);
            let walk = (proxy.take(), start.elapsed());

            let start = Instant::now();
            let mut digester = Digester(Hasher::new(Algorithm::Sha256));
            let of = root.at(large.digest.clone());
            let written = client.blob_to(Blob::Named(&of, Some(large.size)), &mut digester).unwrap();
            let blob = (proxy.take(), start.elapsed());
            assert_eq!((written, digester.0.finish()), (large.size, large.digest.clone()), "{name}");

            for (task, (seen, time)) in [("walk", walk), ("300 MB", blob)] {
                println!(
                    "disruptions: {what}, {name}, {task}: {} requests, {} retries, {time:.2?}: {:?}",
                    seen.requests(),
                    seen.failures(),
                    seen.fates,
                );
                assert!(seen.shown_elsewhere.is_empty(), "{seen:?}");
            }
        }
    }
}

/// A writer that keeps only the digest.
struct Digester(Hasher);

impl Write for Digester {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncWrite for Digester {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.get_mut().write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

//! Bad networks and busy registries: everything that is read is the same as without them, and no login goes
//! astray.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use oci_proto::server::Server;
use oci_proto::{Algorithm, Config, Credentials, Descriptor, Hasher};
use oci_proto_tests::adapter::{Adapter, Blob, MAKERS, Make, Settings};
use oci_proto_tests::interop::{Front, Rules, Sample, Seen, Served, Trouble, Who};
use oci_proto_tokio::credentials::Store;
use tokio::io::AsyncWrite;

use crate::support::{Ocip, REPOSITORY, downloads, filled, root, walks};

const USER: &str = "somebody";
const PASSWORD: &str = "correct horse";

/// Large enough to be cut two dozen times, and small enough for a test that is not optimised.
const LARGE: usize = 16 << 20;

/// The core's registry with the sample in it.
fn served(sample: &Sample) -> Served {
    let mut server = Server::new();
    let (repository, tag) = (REPOSITORY.parse().unwrap(), "latest".parse().unwrap());
    server.add(&repository, Some(&tag), &sample.root, &sample.memory).unwrap();
    Served::start(server, sample.memory.clone())
}

/// Only those who log in get tokens.
fn rules() -> Rules {
    let mut rules = Rules::default();
    rules.anonymous = false;
    rules.login = Some((USER.to_owned(), PASSWORD.to_owned()));
    rules
}

/// A client that knows the login, and tries again soon.
fn client(make: Make, front: &Front) -> Box<dyn Adapter> {
    let mut config = Config::default();
    config.limits.backoff_first = Duration::from_millis(5);
    let login = Credentials::login(USER, PASSWORD).unwrap();
    let mut settings = Settings::default();
    settings.credentials = Some(Store::none().login(front.address().to_string().parse().unwrap(), login));
    settings.config = Some(config);
    make(&settings)
}

/// Reads all of the sample through these troubles with each adapter, and looks at what the front has seen.
fn through(troubles: &[Trouble], sample: &Sample, seen: impl Fn(&str, &Seen) + Sync) {
    let served = served(sample);
    thread::scope(|scope| {
        for (seed, (name, make)) in [7, 11].into_iter().flat_map(|seed| MAKERS.map(|maker| (seed, maker))) {
            let (served, seen) = (&served, &seen);
            scope.spawn(move || {
                let front = Front::with(served.address(), troubles, seed, rules());
                let client = client(make, &front);
                let root = root(front.address());
                walks(&*client, &root, sample);
                downloads(&*client, &root, sample);
                let met = front.take();
                let label = format!("{name}, seed {seed}: {met:?}");
                assert_eq!(client.requests(), met.requests(), "{label}");
                assert!(met.shown_elsewhere.is_empty(), "{label}");
                seen(&label, &met);
            });
        }
    });
}

/// The paths of the sample: the root by its tag, eleven manifests, and three blobs that are not empty.
const PATHS: u64 = 1 + 11 + 3;

#[test]
fn what_fails_once_is_tried_again() {
    through(&[Trouble::Fails], &Sample::nested(), |label, seen| {
        assert_eq!((seen.failures(), seen.of("served")), (PATHS, PATHS), "{label}");
        for fate in ["unavailable", "closed", "reset"] {
            assert!(seen.of(fate) > 0, "{label}");
        }
    });
}

#[test]
fn every_redirect_to_another_origin_is_followed_without_the_login() {
    through(&[Trouble::Redirects, Trouble::WantsToken], &Sample::nested(), |label, seen| {
        assert_eq!((seen.of("redirected"), seen.of("served")), (PATHS, PATHS + 1), "{label}");
        assert_eq!(seen.of("expired"), 0, "{label}");
    });
}

#[test]
fn one_refusal_and_one_token_are_enough() {
    through(&[Trouble::WantsToken], &Sample::nested(), |label, seen| {
        assert_eq!((seen.of("challenged"), seen.of("served")), (1, PATHS + 1), "{label}");
    });
}

#[test]
fn a_blob_that_is_cut_in_half_each_time_comes_whole() {
    through(&[Trouble::Cuts], &Sample::nested_with(LARGE), |label, seen| {
        // Each request brings half of what is left, and the last one the last byte.
        assert!(seen.of("cut") > LARGE.ilog2().into(), "{label}");
        assert_eq!(seen.of("served"), PATHS, "{label}");
    });
}

#[test]
fn who_is_told_to_wait_waits() {
    through(&[Trouble::Throttles], &Sample::nested(), |label, seen| {
        assert!(seen.of("throttled") > 0, "{label}");
        assert_eq!(seen.of("served"), PATHS, "{label}");
    });
}

#[test]
fn all_troubles_at_once_change_nothing() {
    through(&Trouble::ALL, &Sample::nested_with(LARGE), |label, seen| {
        for fate in ["unavailable", "closed", "reset", "throttled", "challenged", "redirected", "cut"] {
            assert!(seen.of(fate) > 0, "{label}");
        }
    });
}

#[test]
fn the_command_reads_docker_registry_through_all_troubles() {
    let sample = Sample::nested_with(100_000);
    let Some(registry) = filled(&sample) else { return };
    let (ocip, login) = (Ocip::new(), ["--username", USER, "--password-stdin"]);
    let reads = &|adapter: &str| {
        let front = Front::with(registry.address(), &Trouble::ALL, 5, rules());
        ocip.prints_on(adapter, &root(front.address()), &sample, &login, PASSWORD);
        let (seen, tokens) = (front.take(), front.take_tokens());
        assert!(seen.shown_elsewhere.is_empty(), "{adapter}: {seen:?}");
        for fate in ["unavailable", "closed", "reset", "throttled", "challenged", "redirected", "cut"] {
            assert!(seen.of(fate) > 0, "{adapter}: {seen:?}");
        }
        let whos: Vec<Who> = tokens.iter().map(|request| request.who).collect();
        assert_eq!(whos, [Who::User; 4], "{adapter}: one for a tree, and one for each of three blobs");
    };
    thread::scope(|scope| {
        for adapter in ["tokio", "ureq"] {
            scope.spawn(move || reads(adapter));
        }
    });
}

/// Figures of a blob of 300 MB, as CONTRIBUTING.md says how to ask for them.
#[test]
#[ignore = "for figures, and slow where it is not optimised"]
#[expect(clippy::print_stdout, reason = "whoever asks for the figures reads them there")]
fn figures_of_a_large_blob() {
    const BYTES: usize = 300_000_000;
    let sample = Sample::nested_with(BYTES);
    let large: &Descriptor = sample.blobs.iter().max_by_key(|blob| blob.size).unwrap();
    let served = served(&sample);
    for (what, troubles) in [("none", &[][..]), ("cuts", &[Trouble::Cuts]), ("all", &Trouble::ALL)] {
        for (name, make) in MAKERS {
            let front = Front::with(served.address(), troubles, 3, rules());
            let login = Credentials::login(USER, PASSWORD).unwrap();
            let registry = front.address().to_string().parse().unwrap();
            let mut settings = Settings::default();
            settings.credentials = Some(Store::none().login(registry, login));
            let client = make(&settings);
            let root = root(front.address());

            let start = Instant::now();
            walks(&*client, &root, &sample);
            let walk = (front.take(), start.elapsed());

            let start = Instant::now();
            let mut digester = Digester(Hasher::new(Algorithm::Sha256));
            let of = root.at(large.digest.clone());
            let written = client.blob_to(Blob::Named(&of, Some(large.size)), &mut digester).unwrap();
            let blob = (front.take(), start.elapsed());
            assert_eq!((written, digester.0.finish()), (large.size, large.digest.clone()), "{name}");

            for (task, (seen, time)) in [("walk", walk), ("300 MB", blob)] {
                println!(
                    "troubles: {what}, {name}, {task}: {} requests, {} to be tried again, {time:.2?}: {:?}",
                    seen.requests(),
                    seen.failures(),
                    seen.fates,
                );
                assert!(seen.shown_elsewhere.is_empty(), "{seen:?}");
            }
        }
    }
}

/// Keeps of what it is given no more than the digest.
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

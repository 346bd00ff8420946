//! Notifications of both adapters: retries, and warnings of registries.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use oci_proto::header::Warning;
use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{
    Config, Descriptor, Digest, Error, Manifest, MediaType, Node, Reference, Retry, WalkOptions,
};
use oci_proto_tests::clients::{MAKERS, settings};
use tokio::runtime;

/// The time limit for everything here.
const BOUND: Duration = Duration::from_secs(10);

/// Responds to each request with the status, headers and body that `answer` returns for its path.
pub(crate) fn serve(answer: impl Fn(&str) -> (String, Vec<u8>) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            thread::spawn(move || converse(stream, &*answer));
        }
    });
    address
}

fn converse(mut stream: TcpStream, answer: &dyn Fn(&str) -> (String, Vec<u8>)) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or(Ok(String::new()))?;
    lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).for_each(drop);
    let (mut head, body) = answer(first.split(' ').nth(1).unwrap_or_default());
    _ = write!(head, "Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(format!("HTTP/1.1 {head}").as_bytes())?;
    stream.write_all(&body)
}

/// A registry with one index under every name, which fails the first request for `flaky`.
fn failing_once() -> SocketAddr {
    let asked = AtomicUsize::new(0);
    serve(move |path| {
        if path.contains("/flaky/") && asked.fetch_add(1, Ordering::SeqCst) == 0 {
            return ("502 Bad Gateway\r\n".to_owned(), Vec::new());
        }
        let body = br#"{"schemaVersion":2,"manifests":[]}"#.to_vec();
        (format!("200 OK\r\nContent-Type: {}\r\n", MediaType::OCI_INDEX), body)
    })
}

fn named(address: SocketAddr, repository: &str) -> Reference {
    format!("{address}/{repository}").parse().unwrap()
}

/// Shown by a hook that waits until another call of the same client has ended.
#[test]
fn a_hook_does_not_block_other_calls() {
    for name in ["tokio", "ureq"] {
        let address = failing_once();
        let (flaky, steady) = (named(address, "flaky"), named(address, "steady"));
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let ended = Mutex::new(ended);
        let hook = move |_: &Retry| {
            tell.send(()).unwrap();
            ended.lock().unwrap().recv_timeout(BOUND).expect("the other call ends");
        };
        let settings = settings().on_retry(hook);
        let (first, second): (Call, Call) = if name == "ureq" {
            let client = oci_proto_ureq::Client::with_settings(settings).unwrap();
            let other = client.clone();
            (Box::new(move || other.manifest(&flaky, None)), Box::new(move || client.manifest(&steady, None)))
        } else {
            let client = oci_proto_tokio::Client::with_settings(settings).unwrap();
            let other = client.clone();
            (
                Box::new(move || runtime().block_on(other.manifest(&flaky, None))),
                Box::new(move || runtime().block_on(client.manifest(&steady, None))),
            )
        };
        let first = thread::spawn(first);
        told.recv_timeout(BOUND).expect("the hook is called");
        second().unwrap_or_else(|error| panic!("{name}: {error}"));
        end.send(()).unwrap();
        first.join().unwrap().unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

type Call = Box<dyn FnOnce() -> Result<(Descriptor, Manifest), Error> + Send>;

fn runtime() -> runtime::Runtime {
    runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn a_panic_in_a_hook_affects_its_call_only() {
    for (name, make) in MAKERS {
        let address = failing_once();
        let adapter = make(&settings().on_retry(|_| panic!("on purpose")));
        let flaky = named(address, "flaky");
        let panicked = catch_unwind(AssertUnwindSafe(|| adapter.manifest(&flaky, None)));
        assert!(panicked.is_err(), "{name}: the panic does not reach the call");
        adapter
            .manifest(&flaky, None)
            .unwrap_or_else(|error| panic!("{name}: the client is unusable: {error}"));
    }
}

#[test]
fn a_walk_that_is_not_polled_loses_no_warning() {
    let mut memory = Memory::new();
    let images: Vec<_> = (0..200_u8).map(|n| memory.add_image(Flavour::OCI, None, &[&[n]])).collect();
    let root = memory.add_index(Flavour::OCI, &images);
    let index = root.digest.clone();
    let address = serve(move |path| {
        let name = path.rsplit('/').next().unwrap_or_default();
        let digest: Digest = name.parse().unwrap_or_else(|_| index.clone());
        let media_type = if digest == index { MediaType::OCI_INDEX } else { MediaType::OCI_MANIFEST };
        let head = format!("200 OK\r\nContent-Type: {media_type}\r\nWarning: 299 - \"{digest} is old\"\r\n");
        (head, memory.bytes(&digest).unwrap().to_vec())
    });
    let mut config = Config::default();
    config.limits.warnings = usize::MAX;
    for (name, make) in MAKERS {
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = told.clone();
        let tell = move |warning: &Warning| telling.lock().unwrap().push(warning.text().to_owned());
        let adapter = make(&settings().config(config.clone()).on_warning(tell));
        let mut nodes = Vec::new();
        let take = &mut |node: Node| {
            let warning = format!("{} is old", node.descriptor.digest);
            assert!(told.lock().unwrap().contains(&warning), "{name}: a node arrives before its warning");
            nodes.push(warning);
            // The others arrive meanwhile, more than the walk reads ahead.
            if nodes.len() % 50 == 1 {
                thread::sleep(Duration::from_millis(100));
            }
        };
        adapter.each(&named(address, "demo"), WalkOptions::default(), take).unwrap();
        let told = told.lock().unwrap();
        assert_eq!(nodes.len(), 201, "{name}");
        assert_eq!(told.len(), 201, "{name}");
        assert_eq!(BTreeSet::from_iter(&*told), BTreeSet::from_iter(&nodes), "{name}");
    }
}

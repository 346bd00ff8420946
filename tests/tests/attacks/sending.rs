//! Attacks on uploads and copies over sockets, on both adapters.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{Algorithm, Config, Descriptor, Digest, Hasher, MediaType, Reference};
use oci_proto_common::{BlobSource, Settings, TransferOptions, UploadOptions};
use oci_proto_tests::adapter::Adapter;
use oci_proto_tests::clients::{self, MAKERS};

use super::measure::turn;

/// The size of the blob. No sockets hold as much.
const SIZE: usize = 64 << 20;

/// Zeros.
struct Zeros;

impl BlobSource for Zeros {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::repeat(0).take(range.end.min(SIZE as u64) - range.start)))
    }
}

fn blob() -> Descriptor {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for _ in 0..SIZE >> 12 {
        hasher.update(&[0; 1 << 12]);
    }
    Descriptor::new(MediaType::OCTET_STREAM, hasher.finish(), SIZE as u64)
}

/// Reacts to the first line of a request, whose content has this length, and may write to the connection or read from
/// it. Returns whether the connection stays open.
type React = dyn Fn(&str, usize, &mut BufReader<TcpStream>) -> io::Result<bool> + Send + Sync;

/// A registry whose reactions to PUT and GET are the test's.
struct Registry {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    open: Arc<AtomicUsize>,
}

impl Registry {
    fn start(
        react: impl Fn(&str, usize, &mut BufReader<TcpStream>) -> io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (requests, open) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (asked, live, react) = (requests.clone(), open.clone(), Arc::new(react));
        // Both threads end with the process; that of a connection ends when the client disconnects.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (asked, live, react) = (asked.clone(), live.clone(), react.clone());
                live.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let _ = converse(stream, &asked, &*react);
                    live.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, requests, open }
    }

    fn name(&self) -> Reference {
        format!("{}/demo:1", self.address).parse().expect("a reference")
    }

    /// Uses the client until it has cancelled an upload in the background.
    fn await_cancellation(&self, client: &dyn Adapter) {
        for _ in 0..200 {
            let is_cancelled = |line: &String| line.starts_with("DELETE");
            if self.requests.lock().expect("no panic").iter().any(is_cancelled) {
                return;
            }
            client.exists(&self.name(), false).expect("the registry answers");
            thread::sleep(Duration::from_millis(10));
        }
        panic!("no upload is cancelled");
    }

    /// The methods of the requests, once the client has closed its connections.
    fn methods(&self, what: &str) -> Vec<String> {
        let began = Instant::now();
        while self.open.load(Ordering::SeqCst) > 0 {
            assert!(began.elapsed() < Duration::from_secs(10), "{what}: a connection stays open");
            thread::sleep(Duration::from_millis(5));
        }
        let requests = self.requests.lock().expect("no panic");
        requests.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }
}

fn converse(stream: TcpStream, asked: &Mutex<Vec<String>>, react: &React) -> io::Result<()> {
    let mut stream = BufReader::with_capacity(1 << 16, stream);
    loop {
        let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
        if stream.read_line(&mut first)? == 0 {
            return Ok(());
        }
        while stream.read_line(&mut line)? > 2 {
            let lower = line.to_ascii_lowercase();
            length = lower.strip_prefix("content-length:").map_or(length, |n| n.trim().parse().unwrap_or(0));
            line.clear();
        }
        asked.lock().expect("no panic").push(first.clone());
        let goes_on = match first.split(' ').next() {
            Some("PUT" | "PATCH" | "GET") => react(&first, length, &mut stream)?,
            Some("HEAD") => say(&mut stream, "404 Not Found\r\nContent-Length: 0")?,
            Some("POST") => say(&mut stream, "202 Accepted\r\nLocation: /u/1\r\nContent-Length: 0")?,
            _ => say(&mut stream, "204 No Content")?,
        };
        if !goes_on {
            return Ok(());
        }
    }
}

fn say(stream: &mut BufReader<TcpStream>, head: &str) -> io::Result<bool> {
    stream.get_mut().write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes())?;
    Ok(true)
}

/// The status of an upload that has no bytes.
fn nothing(stream: &mut BufReader<TcpStream>) -> io::Result<bool> {
    say(stream, "204 No Content\r\nRange: 0-0")
}

fn settings() -> Settings {
    let mut config = Config::default();
    config.limits.backoff_first = Duration::from_millis(1);
    config.limits.max_attempts = 2;
    clients::settings().config(config).idle_timeout(Duration::from_millis(500))
}

type Stalling = fn(&str, usize, &mut BufReader<TcpStream>) -> io::Result<bool>;

#[test]
fn an_upload_that_does_not_proceed() {
    let turn = turn();
    let blob = blob();
    let attacks: [(&str, Stalling); 4] = [
        ("a registry that takes a byte a second", |first, _, stream| {
            if first.starts_with("GET") {
                return nothing(stream);
            }
            // What the sockets hold would take long to read after the client has closed the connection.
            for _ in 0..2 {
                thread::sleep(Duration::from_secs(1));
                stream.get_mut().read_exact(&mut [0])?;
            }
            Ok(false)
        }),
        ("a registry that takes nothing, and sends 103 without end", |first, _, stream| {
            if first.starts_with("GET") {
                return nothing(stream);
            }
            loop {
                say(stream, "103 Early Hints")?;
                thread::sleep(Duration::from_millis(1));
            }
        }),
        ("a registry that takes all, and sends 103 without end", |first, length, stream| {
            if first.starts_with("GET") {
                return nothing(stream);
            }
            io::copy(&mut stream.by_ref().take(length as u64), &mut io::sink())?;
            loop {
                say(stream, "103 Early Hints")?;
                thread::sleep(Duration::from_millis(1));
            }
        }),
        ("a registry that takes all, and never answers", |first, length, stream| {
            if first.starts_with("GET") {
                return nothing(stream);
            }
            io::copy(&mut stream.by_ref().take(length as u64), &mut io::sink())?;
            while stream.get_mut().read(&mut [0])? > 0 {}
            Ok(false)
        }),
    ];
    for (what, react) in attacks {
        for (adapter, make) in MAKERS {
            let registry = Registry::start(react);
            let client = make(&settings());
            let began = Instant::now();
            let send = || client.upload(&registry.name(), &blob, Arc::new(Zeros), UploadOptions::default());
            let error = turn.within(8, &format!("{what}, {adapter}"), send).expect_err("it must fail");
            assert!(began.elapsed() < Duration::from_secs(30), "{what}, {adapter}: {:?}", began.elapsed());
            let said = error.to_string();
            assert!(
                said.starts_with("PUT http://") && said.contains(": timed out: no ") && said.len() < 500,
                "{what}, {adapter}: {said}"
            );
            registry.await_cancellation(&*client);
            drop(client);
            let methods = registry.methods(what);
            let [uploads, cancellations] =
                ["PUT", "DELETE"].map(|method| methods.iter().filter(|of| *of == method).count());
            assert!(uploads <= 2 && cancellations == 1, "{what}, {adapter}: {methods:?}");
        }
    }
}

/// The layer of the image that is copied.
const LAYER: usize = 1 << 20;

#[test]
fn a_copy_whose_source_does_not_end_or_ends_early() {
    let turn = turn();
    let mut memory = Memory::new();
    let root = memory.add_image(Flavour::OCI, None, &[&vec![7; LAYER]]);
    let document = memory.bytes(&root.digest).expect("it was added");
    let small: Vec<(String, Bytes)> = memory
        .contents()
        .filter(|(_, bytes)| bytes.len() < LAYER)
        .map(|(digest, bytes)| (digest.to_string(), bytes.clone()))
        .collect();
    let layer = Digest::of(Algorithm::Sha256, &vec![7; LAYER]).to_string();
    for (what, is_endless, said) in [
        ("a copy from a source without end", true, &*layer),
        ("a copy from a source that always ends early", false, "GET http://"),
    ] {
        for (adapter, make) in MAKERS {
            let (document, small) = (document.clone(), small.clone());
            let source = Registry::start(move |first, _, stream| {
                let known = small.iter().find(|(digest, _)| first.contains(digest.as_str()));
                let bytes = known.map_or(&document, |(_, bytes)| bytes);
                if first.contains("/manifests/") || known.is_some() {
                    say(
                        stream,
                        &format!(
                            "200 OK\r\nContent-Type: {}\r\nContent-Length: {}",
                            MediaType::OCI_MANIFEST,
                            bytes.len()
                        ),
                    )?;
                    stream.get_mut().write_all(bytes)?;
                    return Ok(true);
                }
                if is_endless {
                    say(stream, "200 OK\r\nTransfer-Encoding: chunked")?;
                    loop {
                        stream.get_mut().write_all(&[&b"400\r\n"[..], &[8; 1024], b"\r\n"].concat())?;
                    }
                }
                say(stream, &format!("200 OK\r\nContent-Length: {LAYER}"))?;
                stream.get_mut().write_all(&[7; 1000])?;
                Ok(false)
            });
            let destination = Registry::start(|first, length, stream| {
                if first.starts_with("GET") {
                    return nothing(stream);
                }
                io::copy(&mut stream.by_ref().take(length as u64), &mut io::sink())?;
                say(stream, "201 Created\r\nContent-Length: 0")
            });
            let client = make(&settings());
            let copy = || client.copy(&source.name(), &destination.name(), TransferOptions::default());
            let error = turn.within(8, &format!("{what}, {adapter}"), copy).expect_err("it must fail");
            assert!(error.to_string().contains(said), "{what}, {adapter}: {error}");
            destination.await_cancellation(&*client);
            drop(client);
            let downloads = source.methods(what).len();
            let uploads = destination.methods(what).iter().filter(|method| *method == "PUT").count();
            assert!(downloads <= 15 && uploads <= 10, "{what}, {adapter}: {downloads}, {uploads}");
            let stored = destination
                .requests
                .lock()
                .expect("no panic")
                .iter()
                .any(|line| line.contains("/manifests/") && line.starts_with("PUT"));
            assert!(!stored, "{what}, {adapter}: the manifest is stored");
        }
    }
}

//! Uploads from a source to a server.

use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use oci_proto::{
    Algorithm, Config, Descriptor, Digest, Error, Event, Fault, FaultKind, Hasher, MediaType, PlainHttp,
    Reference,
};
use oci_proto_common::{BlobSource, Settings, StreamOptions, UploadOptions};

use crate::client::Client;
use crate::state::Message;

pub(crate) const CREATED: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";

/// A server whose thread returns a result.
pub(crate) struct Server<T> {
    pub(crate) reference: Reference,
    pub(crate) thread: JoinHandle<T>,
}

/// Serves connections until `answer` returns a result.
pub(crate) fn serve_until<T: Send + 'static>(
    mut answer: impl FnMut(TcpStream) -> Option<T> + Send + 'static,
) -> Server<T> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let reference = format!("{}/demo:latest", listener.local_addr().unwrap()).parse().unwrap();
    let serving = move || {
        loop {
            if let Some(result) = answer(listener.accept().unwrap().0) {
                return result;
            }
        }
    };
    Server { reference, thread: thread::spawn(serving) }
}

/// Serves an upload, whose payload is for `answer`.
pub(crate) fn serve<T: Send + 'static>(answer: impl FnOnce(TcpStream) -> T + Send + 'static) -> Server<T> {
    let mut answer = Some(answer);
    serve_until(move |stream| {
        let mut start = [0; 2];
        while stream.peek(&mut start).unwrap() < 2 {}
        if &start == b"PU" {
            return answer.take().map(|answer| answer(stream));
        }
        begin(&mut BufReader::new(stream));
        None
    })
}

/// Answers the requests before the payload.
pub(crate) fn begin<S: Read + Write>(stream: &mut BufReader<S>) {
    let start = match head(stream)[0].split(' ').next() {
        Some("head") => "404 Not Found\r\n",
        _ => "202 Accepted\r\nLocation: /v2/demo/blobs/uploads/1?state=x\r\n",
    };
    let answer = format!("HTTP/1.1 {start}Content-Length: 0\r\nConnection: close\r\n\r\n");
    stream.get_mut().write_all(answer.as_bytes()).unwrap();
    stream.get_mut().flush().unwrap();
}

/// A source that can be read once.
struct Once(Mutex<Option<Box<dyn Read + Send>>>);

impl BlobSource for Once {
    fn open(&self, _: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        Ok(self.0.lock().unwrap().take().expect("the payload is sent again"))
    }
}

/// Reads the lines of a request's head, in lower case.
pub(crate) fn head(stream: &mut impl BufRead) -> Vec<String> {
    let lines = stream.lines().map(|line| line.unwrap().to_lowercase());
    lines.take_while(|line| !line.is_empty()).collect()
}

/// Reads a body to its end, or until the connection ends.
pub(crate) fn body(stream: &mut impl Read, length: usize) -> Vec<u8> {
    let mut body = Vec::new();
    // A reset ends the connection too.
    let _ = stream.take(length as u64).read_to_end(&mut body);
    body
}

/// A server that reads a payload of this length, and returns the number of bytes received.
fn count(length: usize) -> Server<usize> {
    serve(move |stream| {
        let mut stream = BufReader::new(stream);
        head(&mut stream);
        let came = body(&mut stream, length).len();
        let _ = stream.get_mut().write_all(CREATED);
        came
    })
}

pub(crate) fn content(size: usize) -> (Vec<u8>, Digest) {
    let bytes: Vec<u8> = (0_u32..).flat_map(u32::to_le_bytes).take(size).collect();
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    (bytes, digest)
}

/// Settings without retries, and with a short timeout.
pub(crate) fn settings(plain_http: PlainHttp) -> Settings {
    let mut config = Config::default();
    config.limits.max_attempts = 1;
    config.plain_http = plain_http;
    Settings::default().config(config).idle_timeout(Duration::from_secs(1))
}

pub(crate) fn client() -> Client {
    Client::with_settings(settings(PlainHttp::Loopback)).unwrap()
}

pub(crate) fn describe(digest: &Digest, size: usize) -> Descriptor {
    Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), size as u64)
}

/// Uploads content from a source, with a client of its own.
pub(crate) fn put(
    to: &Reference,
    digest: &Digest,
    size: usize,
    source: impl Read + Send + 'static,
) -> Result<(), Error> {
    put_with(&client(), to, digest, size, source)
}

pub(crate) fn put_with(
    client: &Client,
    to: &Reference,
    digest: &Digest,
    size: usize,
    source: impl Read + Send + 'static,
) -> Result<(), Error> {
    let source = Once(Mutex::new(Some(Box::new(source))));
    client.upload(to, &describe(digest, size), source, UploadOptions::default()).map(drop)
}

fn storage_fault(outcome: Result<(), Error>) -> String {
    let error = outcome.unwrap_err();
    assert_eq!(error.fault().map(Fault::kind), Some(FaultKind::Storage), "{error}");
    error.to_string()
}

#[test]
fn a_payload_is_sent_with_its_length_and_unchunked() {
    for size in [0, 1, 64 << 10, (64 << 10) + 1, 3_000_000] {
        let (bytes, digest) = content(size);
        let server = serve(move |stream| {
            let mut stream = BufReader::new(stream);
            let head = head(&mut stream);
            let body = body(&mut stream, size);
            stream.get_mut().write_all(CREATED).unwrap();
            (head, body)
        });
        put(&server.reference, &digest, size, Cursor::new(bytes.clone())).unwrap();
        let (head, body) = server.thread.join().unwrap();
        assert!(head[0].starts_with("put /v2/demo/blobs/uploads/1?state=x&digest="), "{head:?}");
        let framing: Vec<_> =
            head.iter().filter(|line| line.contains("length") || line.contains("encoding:")).collect();
        assert_eq!(framing, ["accept-encoding: identity", &format!("content-length: {size}")], "{head:?}");
        assert!(body == bytes, "{size}: {} bytes came, or others", body.len());
    }
}

#[test]
fn the_end_of_a_wrong_payload_is_never_sent() {
    let size = 1_000_000;
    for wrong in [0, size / 2, size - 1] {
        let (mut bytes, digest) = content(size);
        bytes[wrong] ^= 1;
        let server = count(size);
        let error = storage_fault(put(&server.reference, &digest, size, Cursor::new(bytes)));
        assert!(error.contains("digest mismatch: computed"), "{error}");
        assert!(server.thread.join().unwrap() < size, "the request was completed");
    }
}

#[test]
fn a_source_that_is_too_short_is_never_sent_to_its_end() {
    // The sizes include that of the write buffer.
    for size in [1000, 64 << 10, 200_000] {
        let (bytes, digest) = content(size + 1);
        let server = count(size + 1);
        let short = Cursor::new(bytes[..size].to_vec());
        let error = storage_fault(put(&server.reference, &digest, size + 1, short));
        assert!(error.contains(&format!("ended after {size} of {} bytes", size + 1)), "{error}");
        assert!(server.thread.join().unwrap() <= size, "the request was completed");
    }
}

#[test]
fn a_failing_source_ends_the_request() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let (bytes, digest) = content(100_000);
    let server = count(bytes.len());
    let source = Cursor::new(bytes[..70_000].to_vec()).chain(Failing);
    let error = storage_fault(put(&server.reference, &digest, bytes.len(), source));
    assert!(error.contains("the disk is gone"), "{error}");
    assert!(server.thread.join().unwrap() <= 70_000);
}

#[cfg(target_os = "linux")]
#[test]
fn a_slow_upload_with_progress_does_not_time_out() {
    // The second payload would fit into the default buffers of the kernel.
    // The third is a chunk in memory.
    for (size, step, pause, is_stream) in [
        (12_000_000, 256 << 10, 50, false),
        (2_000_000, 64 << 10, 100, false),
        (2_000_000, 64 << 10, 100, true),
    ] {
        let (bytes, digest) = content(size);
        let server = serve(move |stream| {
            let mut stream = BufReader::with_capacity(1 << 10, stream);
            head(&mut stream);
            let mut left = size;
            while left > 0 {
                let came = body(&mut stream, left.min(step)).len();
                assert!(came > 0, "the client gave up with {left} bytes left");
                left -= came;
                thread::sleep(Duration::from_millis(pause));
            }
            stream.get_mut().write_all(CREATED).unwrap();
        });
        let began = Instant::now();
        if is_stream {
            let found = client().upload_stream(&server.reference, &bytes[..], StreamOptions::default());
            assert_eq!(found.unwrap(), describe(&digest, size));
        } else {
            put(&server.reference, &digest, size, Cursor::new(bytes)).unwrap();
        }
        assert!(began.elapsed() > Duration::from_secs(2), "took {:?}", began.elapsed());
        server.thread.join().unwrap();
    }
}

#[test]
fn an_upload_times_out_if_the_server_stops_reading() {
    let (bytes, digest) = content(30_000_000);
    let (over, wait) = mpsc::channel::<()>();
    let server = serve(move |stream| {
        let mut stream = BufReader::new(stream);
        head(&mut stream);
        let _ = wait.recv();
    });
    let began = Instant::now();
    let error = put(&server.reference, &digest, bytes.len(), Cursor::new(bytes)).unwrap_err();
    assert_eq!(error.fault().map(Fault::kind), Some(FaultKind::Timeout), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    drop(over);
    server.thread.join().unwrap();
}

#[test]
fn the_end_of_a_call_ends_its_payload() {
    let (bytes, digest) = content(30_000_000);
    let (begun, sent) = mpsc::channel();
    let (over, wait) = mpsc::channel::<()>();
    let server = serve(move |stream| {
        let mut stream = BufReader::new(stream);
        head(&mut stream);
        begun.send(()).unwrap();
        let _ = wait.recv();
    });
    let client = Client::new().unwrap();
    let descriptor = describe(&digest, bytes.len());
    let call = client.call("upload", |session| session.upload(&server.reference, &descriptor, None));
    let job = loop {
        if let Message::Exchange(job) = call.message() {
            break job;
        }
    };
    let shared = call.shared().clone();
    let sending =
        thread::spawn(move || drop(job.run(&shared.transport, shared.now(), Some(&mut &bytes[..]))));
    sent.recv().unwrap();
    drop(call);
    let dropped = Instant::now();
    sending.join().unwrap();
    // The idle timeout is 30 s.
    assert!(dropped.elapsed() < Duration::from_secs(10), "took {:?}", dropped.elapsed());
    drop(over);
    server.thread.join().unwrap();
}

#[test]
fn a_call_without_a_source_rejects_a_payload() {
    let (_, digest) = content(10);
    let server = count(10);
    let client = client();
    let call =
        client.call("upload", |session| session.upload(&server.reference, &describe(&digest, 10), None));
    let error = loop {
        match call.event() {
            Event::Failed(error) => break error,
            Event::Done => panic!("it was sent"),
            _ => {}
        }
    };
    assert_eq!(error.fault().map(Fault::kind), Some(FaultKind::Unsupported), "{error}");
    // Those before the payload.
    assert_eq!(client.metrics().requests, 2);
}

#[test]
fn a_panic_of_a_source_reaches_the_caller() {
    struct Panicking;
    impl Read for Panicking {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("the source panics")
        }
    }
    let (_, digest) = content(10);
    let server = count(10);
    let client = client();
    let running = client.clone();
    let putting = thread::spawn(move || put_with(&running, &server.reference, &digest, 10, Panicking));
    let panic = putting.join().unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the source panics"));
    // The client is usable.
    let error = client.resolve(&"127.0.0.1:1/demo".parse().unwrap(), None).unwrap_err();
    assert_eq!(error.fault().map(Fault::kind), Some(FaultKind::Connect), "{error}");
}

#[test]
fn a_slow_source_does_not_time_out() {
    struct Slow(Cursor<Vec<u8>>);
    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            thread::sleep(Duration::from_millis(400));
            let part = buffer.len().min(100_000);
            self.0.read(&mut buffer[..part])
        }
    }
    let (bytes, digest) = content(300_000);
    let server = count(bytes.len());
    let client =
        Client::with_settings(settings(PlainHttp::Loopback).idle_timeout(Duration::from_millis(200)))
            .unwrap();
    put_with(&client, &server.reference, &digest, bytes.len(), Slow(Cursor::new(bytes))).unwrap();
    assert_eq!(server.thread.join().unwrap(), 300_000);
}

/// A payload is sent through buffers of a fixed size.
#[cfg(target_os = "linux")]
#[test]
fn a_large_payload_needs_constant_memory() {
    fn peak() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
    let size = 256 << 20;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    for _ in 0..256 {
        hasher.update(&vec![0; 1 << 20]);
    }
    let server = serve(move |stream| {
        let mut stream = BufReader::new(stream);
        head(&mut stream);
        let came = io::copy(&mut (&mut stream).take(size as u64), &mut io::sink()).unwrap();
        stream.get_mut().write_all(CREATED).unwrap();
        came
    });
    let before = peak();
    put(&server.reference, &hasher.finish(), size, io::repeat(0).take(size as u64)).unwrap();
    assert_eq!(server.thread.join().unwrap(), size as u64);
    // The kernel's counters are inexact, and may even decrease.
    let grown = peak().saturating_sub(before);
    // Other tests of this process allocate too.
    assert!(grown < 128 << 10, "{grown} KiB more");
}

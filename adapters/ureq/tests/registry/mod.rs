//! A registry on loopback for tests: the core's server behind HTTP/1.1 on threads, and a script that
//! says how badly it behaves.

#![allow(dead_code, reason = "each test binary uses a part of it")]
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use http::request::Parts;
use http::{Method, Request};
use oci_proto::server::{Body, Content, Memory, Server};
use oci_proto::{Descriptor, Digest, Reference};

/// How the registry answers one request.
pub(crate) enum Play {
    Serve,
    /// Serves after this long.
    Delay(Duration),
    /// Says nothing until the test is over.
    Stall,
    /// Sends so many bytes of the body, and then nothing until the test is over.
    StallAfter(usize),
    /// Sends so many bytes of the body, and closes.
    CutAfter(usize),
}

pub(crate) struct Registry {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: Server,
    memory: Memory,
    script: Box<dyn Fn(&Parts) -> Play + Send + Sync>,
    requests: Mutex<Vec<String>>,
    connections: AtomicUsize,
    busy: AtomicUsize,
    most_busy: AtomicUsize,
    over: AtomicBool,
}

impl Registry {
    /// Serves each of `roots` as `repository:tag`.
    pub(crate) fn start(
        memory: Memory,
        roots: &[(&str, &Descriptor)],
        script: impl Fn(&Parts) -> Play + Send + Sync + 'static,
    ) -> Self {
        let mut server = Server::new();
        for (name, root) in roots {
            let (repository, tag) = name.split_once(':').unwrap();
            server.add(&repository.parse().unwrap(), Some(&tag.parse().unwrap()), root, &memory).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server,
            memory,
            script: Box::new(script),
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            most_busy: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.over.load(Ordering::SeqCst) {
                    break;
                }
                accepting.connections.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.converse(stream.unwrap()));
            }
        });
        Self { address, shared }
    }

    /// A reference into this registry: `demo:latest`.
    pub(crate) fn named(&self, name: &str) -> Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }

    /// A reference by digest.
    pub(crate) fn at(&self, repository: &str, digest: &Digest) -> Reference {
        self.named(&format!("{repository}@{digest}"))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was asked, in the order in which it came: `GET /v2/...`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The most requests that were being answered at once.
    pub(crate) fn most_busy(&self) -> usize {
        self.shared.most_busy.load(Ordering::SeqCst)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn converse(&self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let mut stream = BufReader::new(stream);
        while let Some(head) = read_head(&mut stream) {
            self.requests.lock().unwrap().push(format!("{} {}", head.method, head.uri));
            let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_busy.fetch_max(busy, Ordering::SeqCst);
            let goes_on = self.answer(stream.get_mut(), &head);
            self.busy.fetch_sub(1, Ordering::SeqCst);
            if goes_on.is_none() {
                return;
            }
        }
        // The client has gone, or does not speak HTTP.
        let _ = stream.get_mut().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    }

    /// `None` where the connection is to be closed.
    fn answer(&self, stream: &mut TcpStream, head: &Parts) -> Option<()> {
        let (most, stalls) = match (self.script)(head) {
            Play::Serve => (usize::MAX, false),
            Play::Delay(delay) => {
                thread::sleep(delay);
                (usize::MAX, false)
            }
            Play::Stall => {
                self.stall();
                return None;
            }
            Play::StallAfter(most) => (most, true),
            Play::CutAfter(most) => (most, false),
        };
        let (response, body) = self.server.respond(head).into_parts();
        let mut message = format!("HTTP/1.1 {}\r\n", response.status).into_bytes();
        for (name, value) in &response.headers {
            write!(message, "{name}: {}\r\n", value.to_str().unwrap()).unwrap();
        }
        message.extend_from_slice(b"\r\n");
        let body = match body {
            Body::Empty => Vec::new(),
            Body::Bytes(bytes) => bytes.to_vec(),
            Body::Blob { digest, range } => {
                let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                self.memory.bytes(&digest).unwrap()[range].to_vec()
            }
        };
        let sent = &body[..body.len().min(most)];
        message.extend_from_slice(sent);
        stream.write_all(&message).ok()?;
        stream.flush().ok()?;
        if sent.len() == body.len() {
            return Some(());
        }
        if stalls {
            self.stall();
        }
        None
    }

    fn stall(&self) {
        while !self.over.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn read_head(stream: &mut impl BufRead) -> Option<Parts> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let method: Method = words.next()?.parse().ok()?;
    let mut request = Request::builder().method(method).uri(words.next()?);
    loop {
        line.clear();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        request = request.header(name, value);
    }
    Some(request.body(()).ok()?.into_parts().0)
}

//! A registry on loopback for tests: the core's server over HTTP/1.1 on threads, with a script of failures.

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
    /// Does not respond until the test has ended.
    Stall,
    /// Sends this many bytes of the body, and then nothing until the test has ended.
    StallAfter(usize),
    /// Sends this many bytes of the body, and closes the connection.
    CutAfter(usize),
    /// Sends this many bytes of the body, and the rest once the flag is set.
    RestOnce(usize, Arc<AtomicBool>),
    /// Redirects to this URL of the registry, with a body of this many bytes that is sent after the head.
    Redirect(String, usize),
    /// Sends these bytes.
    Raw(Vec<u8>),
    /// Sends these bytes, and then this many single bytes, five per second.
    Trickle(Vec<u8>, usize),
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

    /// The requests in order of arrival: `GET /v2/...`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The maximum number of requests that were served at once.
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
        // The client has disconnected, or does not speak HTTP.
        let _ = stream.get_mut().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    }

    /// Answers a request. Returns `None` if the connection must be closed.
    fn answer(&self, stream: &mut TcpStream, head: &Parts) -> Option<()> {
        let play = (self.script)(head);
        let rest = if let Play::RestOnce(_, rest) = &play { Some(rest.clone()) } else { None };
        let (most, stalls) = match play {
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
            Play::CutAfter(most) | Play::RestOnce(most, _) => (most, false),
            Play::Redirect(location, length) => {
                let head = format!(
                    "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: {length}\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).ok()?;
                thread::sleep(Duration::from_millis(5));
                return stream.write_all(&vec![b'x'; length]).ok();
            }
            Play::Raw(answer) => return stream.write_all(&answer).ok(),
            Play::Trickle(answer, bytes) => {
                stream.write_all(&answer).ok()?;
                for _ in 0..bytes {
                    thread::sleep(Duration::from_millis(200));
                    stream.write_all(b"x").ok()?;
                }
                return Some(());
            }
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
        if let Some(rest) = rest {
            while !rest.load(Ordering::SeqCst) && !self.over.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            return stream.write_all(&body[sent.len()..]).ok();
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

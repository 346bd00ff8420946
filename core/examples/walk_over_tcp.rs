//! Drives the core on nothing but `std::net::TcpStream`, with httparse for response heads: it walks a
//! registry that speaks plain http, one request after another on one connection.
//!
//! `cargo run -p oci-proto --example walk_over_tcp -- 127.0.0.1:5000/team/app:1`
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a driver does the core's I/O")]
#![expect(clippy::print_stdout, reason = "the tree is what it prints")]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use http::{Request, Response, response};
use oci_proto::{Awaiting, Completion, Config, Event, Fault, FaultKind, Output, Payload, PlainHttp};
use oci_proto::{Reference, Session, Time, WalkOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = std::env::args().nth(1).ok_or("usage: walk_over_tcp HOST:PORT/REPOSITORY:TAG")?;
    let reference: Reference = text.parse()?;
    let mut config = Config::default();
    config.plain_http = PlainHttp::Always;
    let mut session = Session::new(config, 0);
    let mut connection = Connection::default();
    let start = Instant::now();
    let now = || Time::from_epoch(start.elapsed());
    session.walk(&reference, WalkOptions::default());
    loop {
        match session.poll_output(now()) {
            Output::Send(exchange) => {
                let (request, awaiting) = exchange.split();
                let completion = connection.carry(&request, awaiting);
                session.complete(now(), completion);
            }
            Output::Event(_, Event::Node(node)) => {
                let indent = "  ".repeat(node.depth as usize);
                println!("{indent}{} {} {}", node.kind, node.descriptor.digest, node.descriptor.size);
            }
            Output::Event(_, Event::Done) => return Ok(()),
            Output::Event(_, Event::Failed(error)) => return Err(error.into()),
            Output::Event(..) | Output::Abort(_) => {}
            Output::Wait(Some(until)) => std::thread::sleep(until.saturating_since(now())),
            Output::Credentials(query, _) => session.credentials(now(), query, Ok(None)),
            _ => return Err("there is nothing left to wait for, or nothing that this driver knows".into()),
        }
    }
}

/// A connection that is opened when it is needed, and kept while the server keeps it.
#[derive(Default)]
struct Connection {
    stream: Option<(String, TcpStream)>,
    /// What was read and not used yet.
    buffer: Vec<u8>,
}

impl Connection {
    /// Carries one exchange out; a failure becomes a fault of its completion.
    fn carry(&mut self, request: &Request<Payload>, awaiting: Awaiting) -> Completion {
        let head = self.connect(request).map_err(|error| Fault::new(FaultKind::Connect, error));
        match head.and_then(|()| self.ask(request).map_err(|error| Fault::new(FaultKind::Reset, error))) {
            Ok(head) => self.receive(&head, awaiting),
            Err(fault) => {
                self.stream = None;
                awaiting.fail(fault)
            }
        }
    }

    fn connect(&mut self, request: &Request<Payload>) -> io::Result<()> {
        let uri = request.uri();
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let address = if uri.port().is_some() { host.to_owned() } else { format!("{host}:80") };
        if self.stream.as_ref().is_none_or(|(open, _)| *open != address) {
            let stream = TcpStream::connect(&address)?;
            stream.set_read_timeout(Some(Duration::from_secs(30)))?;
            stream.set_nodelay(true)?;
            self.buffer.clear();
            self.stream = Some((address, stream));
        }
        Ok(())
    }

    /// Sends the request and reads the head of its answer.
    fn ask(&mut self, request: &Request<Payload>) -> io::Result<response::Parts> {
        let uri = request.uri();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let mut text = format!("{} {path} HTTP/1.1\r\nHost: {host}\r\n", request.method());
        for (name, value) in request.headers() {
            text.extend([name.as_str(), ": ", value.to_str().unwrap_or_default(), "\r\n"]);
        }
        self.stream()?.write_all((text + "\r\n").as_bytes())?;
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 100];
            let mut head = httparse::Response::new(&mut fields);
            match head.parse(&self.buffer).map_err(io::Error::other)? {
                httparse::Status::Complete(len) => {
                    let mut response = Response::builder().status(head.code.unwrap_or_default());
                    for field in head.headers.iter() {
                        response = response.header(field.name, field.value);
                    }
                    self.buffer.drain(..len);
                    return Ok(response.body(()).map_err(io::Error::other)?.into_parts().0);
                }
                httparse::Status::Partial if self.buffer.len() > 64 << 10 => {
                    return Err(io::Error::other("the response's head is larger than 64 KiB"));
                }
                httparse::Status::Partial => self.fill()?,
            }
        }
    }

    /// Reads the body, framed by Content-Length, and passes it on.
    fn receive(&mut self, head: &response::Parts, awaiting: Awaiting) -> Completion {
        let length = head.headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        let mut receiving = awaiting.head(head);
        let Some(mut left): Option<usize> = length else {
            self.stream = None;
            return receiving.fail(Fault::new(FaultKind::Reset, "this example needs Content-Length"));
        };
        while left > 0 && receiving.wants_body() {
            if self.buffer.is_empty()
                && let Err(error) = self.fill()
            {
                self.stream = None;
                return receiving.fail(Fault::new(FaultKind::Reset, error));
            }
            let chunk: Vec<u8> = self.buffer.drain(..self.buffer.len().min(left)).collect();
            left -= chunk.len();
            // A walk's bodies are collected by the exchange; a blob's come back from `push`, for its sink.
            if receiving.push(&chunk).is_err() {
                break;
            }
        }
        if left > 0 {
            self.stream = None;
        }
        receiving.finish()
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        let len = self.stream()?.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..len]);
        if len == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn stream(&mut self) -> io::Result<&mut TcpStream> {
        self.stream.as_mut().map(|(_, stream)| stream).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

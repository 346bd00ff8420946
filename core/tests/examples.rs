//! The example drivers fulfil the duties of a driver.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "the examples do I/O")]

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use oci_proto::server::{Body, Content, Memory, Server};
use oci_proto::{Algorithm, Answer, Config, Credentials, Digest, Error, Event, Held, OpId, Output, Question};
use oci_proto::{Reference, Session, Sink, Source, Time};
use walk_over_tcp::connection::{Connection, Contents};

#[path = "../examples/owned_buffers.rs"]
#[expect(dead_code, reason = "the test calls what `main` calls")]
mod owned_buffers;
#[path = "../examples/walk_over_tcp/main.rs"]
#[expect(dead_code, reason = "the tests call what `main` calls")]
mod walk_over_tcp;

/// The timeout for messages from the server of a test.
const PATIENCE: Duration = Duration::from_secs(20);

/// The framing of a body.
#[derive(Clone, Copy, Debug)]
enum Framed {
    Length,
    Chunked,
    UntilClosed,
}

#[test]
fn a_walk_over_tcp_supports_every_framing_and_skips_interim_responses() {
    let (memory, root) = Memory::sample();
    let mut trees = Vec::new();
    for framed in [Framed::Length, Framed::Chunked, Framed::UntilClosed] {
        let mut content = Server::new();
        content.add(&"demo".parse().unwrap(), "latest".parse().ok().as_ref(), &root, &memory).unwrap();
        let memory = memory.clone();
        let registry = Loopback::start(move |request, stream| {
            stream
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n")?;
            write_response(stream, &respond(&content, &memory, request), framed)
        });
        let mut out = Vec::new();
        walk_over_tcp::walk(&registry.reference("demo"), &mut out).unwrap();
        trees.push(String::from_utf8(out).unwrap());
    }
    let [by_length, chunked, until_closed] = &trees[..] else { panic!("{trees:?}") };
    assert_eq!(by_length.lines().count(), 11, "{by_length}");
    assert_eq!(by_length.lines().next(), Some(&*format!("index {} {}", root.digest, root.size)));
    assert_eq!(chunked, by_length);
    assert_eq!(until_closed, by_length);
}

#[test]
fn one_connection_carries_a_walk_and_drains_unwanted_bodies() {
    let (memory, root) = Memory::sample();
    let mut content = Server::new();
    content.add(&"demo".parse().unwrap(), "latest".parse().ok().as_ref(), &root, &memory).unwrap();
    let registry = Loopback::start(move |request, stream| {
        let Some(path) = request.target.strip_suffix("?moved") else {
            let to = format!("{}?moved", request.target);
            let moved = Response::builder().status(307).header("location", to);
            return write_response(
                stream,
                &moved.body(Bytes::from_static(b"elsewhere")).unwrap(),
                Framed::Chunked,
            );
        };
        let request = Request { target: path.to_owned(), ..request.clone() };
        write_response(stream, &respond(&content, &memory, &request), Framed::Length)
    });
    walk_over_tcp::walk(&registry.reference("demo"), &mut io::sink()).unwrap();
    assert_eq!(registry.connections(), 1);
}

#[test]
fn an_interrupted_blob_is_resumed_in_its_sink() {
    let blob = (0..100_000_u32).map(|i| i.to_le_bytes()[0]).collect::<Bytes>();
    let (digest, content) = (Digest::of(Algorithm::Sha256, &blob), blob.clone());
    let registry = Loopback::start(move |request, stream| {
        let head = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes";
        match request.headers.get("range") {
            None => {
                // Half of the first chunk, then the end of the connection.
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186A0\r\n")?;
                stream.write_all(&content[..40_000])?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Some(range) => {
                assert_eq!(range, "bytes=40000-");
                write!(stream, "{head} 40000-99999/100000\r\nContent-Length: 60000\r\n\r\n")?;
                stream.write_all(&content[40_000..])
            }
        }
    });
    let reference = registry.reference(&format!("demo@{digest}"));
    let mut driver = Driver::default();
    let op = driver.session.blob(&reference, None);
    driver.run(op).unwrap();
    assert_eq!(driver.contents.sinks[&digest], blob);
    assert_eq!(driver.contents.flushed, [digest]);
}

#[test]
fn a_token_is_fetched_by_post() {
    let (memory, root) = Memory::sample();
    let mut content = Server::new();
    content.add(&"demo".parse().unwrap(), "latest".parse().ok().as_ref(), &root, &memory).unwrap();
    let registry = Loopback::start(move |request, stream| {
        let response = Response::builder();
        let response = match (&request.method, request.headers.get("authorization")) {
            (&Method::POST, _) => {
                let asked = String::from_utf8_lossy(&request.body);
                assert!(asked.contains("refresh_token=hunter2"), "{asked}");
                response.body(Bytes::from_static(br#"{"access_token":"abc"}"#)).unwrap()
            }
            (_, None) => {
                let challenge = format!("Bearer realm=\"http://{}/token\",service=\"s\"", request.host);
                response.status(401).header("www-authenticate", challenge).body(Bytes::new()).unwrap()
            }
            (_, Some(token)) => {
                assert_eq!(token, "Bearer abc");
                respond(&content, &memory, request)
            }
        };
        write_response(stream, &response, Framed::Length)
    });
    let mut driver = Driver { login: Some(Credentials::Identity("hunter2".into())), ..Driver::default() };
    let op = driver.session.resolve(&registry.reference("demo"), None);
    driver.run(op).unwrap();
}

#[test]
fn a_request_on_a_closed_idle_connection_is_retried() {
    let registry = Loopback::start(|request, stream| {
        let body = format!("{{\"errors\":[{{\"code\":\"DENIED\",\"message\":\"{}\"}}]}}", request.target);
        let denied = Response::builder().status(403).body(Bytes::from(body)).unwrap();
        write_response(stream, &denied, Framed::Length)?;
        // The response does not announce this.
        Err(io::ErrorKind::ConnectionAborted.into())
    });
    let mut driver = Driver::default();
    for repository in ["one", "two"] {
        let op =
            driver.session.resolve(&registry.reference(repository), Some(&"linux/amd64".parse().unwrap()));
        let error = driver.run(op).unwrap_err().to_string();
        assert!(error.contains(repository) && error.contains("403"), "{error}");
        registry.closed();
    }
    assert_eq!(driver.retried, ["the request was not sent"]);
    assert_eq!(registry.connections(), 2);
}

#[test]
fn a_connection_with_connection_close_is_not_reused() {
    let registry = Loopback::start(|_, stream| {
        let denied =
            Response::builder().status(403).header("connection", "x, Close").body(Bytes::new()).unwrap();
        write_response(stream, &denied, Framed::Length)?;
        Err(io::ErrorKind::ConnectionAborted.into())
    });
    let mut driver = Driver::default();
    for _ in 0..2 {
        let op = driver.session.resolve(&registry.reference("demo"), Some(&"linux/amd64".parse().unwrap()));
        driver.run(op).unwrap_err();
        registry.closed();
    }
    assert!(driver.retried.is_empty(), "{:?}", driver.retried);
    assert_eq!(registry.connections(), 2);
}

#[test]
fn a_body_without_a_framed_end_is_a_fault() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "SSH-2.0-server\r\n\r\n",
    ] {
        let registry = Loopback::start(move |_, stream| {
            stream.write_all(response.as_bytes())?;
            Err(io::ErrorKind::ConnectionAborted.into())
        });
        let mut driver = Driver::new(1);
        let digest = Digest::of(Algorithm::Sha256, b"hello");
        let op = driver.session.blob(&registry.reference(&format!("demo@{digest}")), None);
        let error = driver.run(op).expect_err(response).to_string();
        assert!(error.contains("the connection broke"), "{response}: {error}");
    }
}

#[test]
fn an_exchange_times_out_only_without_progress() {
    let blob = Bytes::from_static(b"0123456789");
    let (digest, content) = (Digest::of(Algorithm::Sha256, &blob), blob.clone());
    let registry = Loopback::start(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")?;
        // Takes longer than the idle timeout of the driver.
        for byte in content.chunks(1) {
            thread::sleep(Duration::from_millis(100));
            stream.write_all(byte)?;
        }
        Ok(())
    });
    let mut driver = Driver::new(1);
    let op = driver.session.blob(&registry.reference(&format!("demo@{digest}")), None);
    driver.run(op).unwrap();

    let registry = Loopback::start_raw(|stream| io::copy(stream, &mut io::sink()).map(drop));
    let op = driver.session.blob(&registry.reference(&format!("demo@{digest}")), None);
    let error = driver.run(op).unwrap_err().to_string();
    assert!(error.contains("timed out"), "{error}");
}

#[test]
fn the_number_of_interim_responses_is_limited() {
    let registry = Loopback::start(|_, stream| {
        for _ in 0..10_000 {
            stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")?;
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    });
    let mut driver = Driver::new(1);
    let op = driver.session.resolve(&registry.reference("demo"), None);
    let error = driver.run(op).unwrap_err().to_string();
    assert!(error.contains("too many 1xx responses"), "{error}");
}

mod payloads {
    use std::iter;

    use oci_proto::ScriptStep;

    use super::*;

    fn put(driver: &mut Driver, registry: &Loopback, content: &[u8]) -> Result<(), Error> {
        let digest = Digest::of(Algorithm::Sha256, content);
        let step = ScriptStep::Put { digest, size: content.len() as u64 };
        let to = registry.reference("demo");
        let op = driver.session.script(&to, &to, vec![step]);
        driver.run(op)
    }

    #[test]
    fn a_payload_is_read_from_its_source_and_sent_with_its_length() {
        let content: Vec<u8> = iter::repeat_n(*b"0123456789", 10_000).flatten().collect();
        let (put_content, (sent, received)) = (content.clone(), mpsc::channel());
        let registry = Loopback::start(move |request, stream| {
            sent.send((request.headers["content-length"].clone(), request.body.clone())).unwrap();
            write_response(
                stream,
                &Response::builder().status(201).body(Bytes::new()).unwrap(),
                Framed::Length,
            )
        });
        let mut driver = Driver::default();
        driver.contents.add_source(put_content);
        put(&mut driver, &registry, &content).unwrap();
        let (length, body) = received.recv_timeout(PATIENCE).unwrap();
        assert_eq!(length, "100000");
        assert_eq!(body, content);
    }

    #[test]
    fn an_upload_with_wrong_content_is_never_completed() {
        let content: Vec<u8> = iter::repeat_n(*b"0123456789", 10_000).flatten().collect();
        let (sent, received) = mpsc::channel();
        let registry = Loopback::start_raw(move |stream| {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes)?;
            sent.send(bytes).map_err(io::Error::other)
        });
        let mut driver = Driver::default();
        let digest = Digest::of(Algorithm::Sha256, &content);
        let mut other = content.clone();
        other[5] = b'x';
        driver.contents.sources.insert(digest, other);
        let error = put(&mut driver, &registry, &content).unwrap_err().to_string();
        assert!(error.contains("digest mismatch: computed"), "{error}");
        drop(driver);
        let bytes = received.recv_timeout(PATIENCE).unwrap();
        let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").expect("the request's head is sent");
        assert!(bytes.len() - head - 4 < content.len());
    }

    #[test]
    fn an_early_response_stops_the_payload() {
        let content = vec![0; 64 << 20];
        let (sent, received) = mpsc::channel();
        let registry = Loopback::start_raw(move |stream| {
            stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")?;
            stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")?;
            let read = io::copy(stream, &mut io::sink())?;
            sent.send(read).map_err(io::Error::other)
        });
        let mut driver = Driver::default();
        driver.contents.add_source(content.clone());
        let error = put(&mut driver, &registry, &content).unwrap_err().to_string();
        assert!(error.contains("413"), "{error}");
        let read = received.recv_timeout(PATIENCE).unwrap();
        assert!(read < content.len() as u64, "{read} bytes were sent");
    }

    /// A PUT is not retried if it may have arrived.
    #[test]
    fn any_request_is_retried_if_it_was_not_sent() {
        let content = b"content".to_vec();
        let registry = Loopback::start(|_, stream| {
            let created = Response::builder().status(201).body(Bytes::new()).unwrap();
            write_response(stream, &created, Framed::Length)?;
            Err(io::ErrorKind::ConnectionAborted.into())
        });
        let mut driver = Driver::default();
        driver.contents.add_source(content.clone());
        for _ in 0..2 {
            put(&mut driver, &registry, &content).unwrap();
            registry.closed();
        }
        assert_eq!(driver.retried, ["the request was not sent"]);
    }
}

#[test]
fn owned_buffers_reach_the_sink_without_a_copy() {
    let report = owned_buffers::run().unwrap();
    assert_eq!(report.bytes, 600_000);
    assert!(report.pieces > 60, "{report:?}");
    assert!(report.parts > 0, "a resumed blob starts within a chunk: {report:?}");
}

/// Runs operations on one connection.
struct Driver {
    session: Session,
    connection: Connection,
    contents: Stored,
    login: Option<Credentials>,
    start: Instant,
    /// The reasons of retries.
    retried: Vec<String>,
}

impl Default for Driver {
    fn default() -> Self {
        Self::new(3)
    }
}

impl Driver {
    fn new(max_attempts: u32) -> Self {
        let mut config = Config::default();
        config.limits.max_attempts = max_attempts;
        config.limits.backoff_first = Duration::from_millis(1);
        Self {
            session: Session::new(config, 0),
            connection: Connection::new(Duration::from_millis(500)),
            contents: Stored::default(),
            login: None,
            start: Instant::now(),
            retried: Vec::new(),
        }
    }

    fn run(&mut self, op: OpId) -> Result<(), Error> {
        loop {
            let now = Time::from_epoch(self.start.elapsed());
            match self.session.poll_output(now) {
                Output::Send(exchange) => {
                    let completion = self.connection.carry(exchange, &mut self.contents);
                    self.session.complete(now, completion);
                }
                Output::Ask(query, question) => {
                    let answer = match question {
                        Question::Credentials(_) => Answer::Credentials(self.login.clone()),
                        Question::Held { .. } => Answer::Held(Held::Nothing),
                        Question::Store { .. } => Answer::Stored,
                    };
                    self.session.answer(now, query, answer);
                }
                Output::Event(of, Event::Done) if of == op => return Ok(()),
                Output::Event(of, Event::Failed(error)) if of == op => return Err(error),
                Output::Event(_, Event::Retry(retry)) => {
                    let error = retry.error.to_string();
                    let known = ["the request was not sent", "the connection broke"];
                    self.retried
                        .extend(known.map(str::to_owned).into_iter().filter(|kind| error.contains(kind)));
                }
                Output::Event(..) | Output::Abort(_) => {}
                Output::Wait(Some(until)) => thread::sleep(until.saturating_since(now)),
                Output::Wait(None) => panic!("the operation hangs"),
            }
        }
    }
}

/// Content by its digest.
#[derive(Default)]
struct Stored {
    sinks: BTreeMap<Digest, Vec<u8>>,
    flushed: Vec<Digest>,
    sources: BTreeMap<Digest, Vec<u8>>,
}

impl Stored {
    fn add_source(&mut self, content: Vec<u8>) {
        self.sources.insert(Digest::of(Algorithm::Sha256, &content), content);
    }
}

impl Contents for Stored {
    fn write(&mut self, sink: &Sink, bytes: &[u8]) -> io::Result<()> {
        let stored = self.sinks.entry(sink.digest.clone()).or_default();
        stored.truncate(usize::try_from(sink.offset).map_err(io::Error::other)?);
        assert_eq!(stored.len() as u64, sink.offset, "a sink has no holes");
        stored.extend(bytes);
        Ok(())
    }

    fn flush(&mut self, sink: &Sink) -> io::Result<()> {
        self.flushed.push(sink.digest.clone());
        Ok(())
    }

    fn read(&mut self, source: &Source) -> io::Result<Box<dyn Read>> {
        let content = self.sources.get(&source.digest).ok_or(io::ErrorKind::NotFound)?;
        let range = usize::try_from(source.range.start).map_err(io::Error::other)?
            ..usize::try_from(source.range.end).map_err(io::Error::other)?;
        Ok(Box::new(io::Cursor::new(content[range].to_vec())))
    }
}

/// A server on loopback for one test.
struct Loopback {
    address: String,
    /// Receives a message for each opened connection.
    opened: mpsc::Receiver<()>,
    /// Receives a message for each closed connection.
    closed: mpsc::Receiver<()>,
}

#[derive(Clone, Debug)]
struct Request {
    method: Method,
    target: String,
    host: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Loopback {
    /// Answers every request on every connection, until `answer` fails or the client disconnects.
    fn start(answer: impl Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + 'static) -> Self {
        Self::start_raw(move |stream| {
            let mut reader = BufReader::new(stream.try_clone()?);
            while let Some(request) = read_request(&mut reader)? {
                answer(&request, stream)?;
            }
            Ok(())
        })
    }

    /// Serves one connection after another.
    fn start_raw(serve: impl Fn(&mut TcpStream) -> io::Result<()> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, opened) = mpsc::channel();
        let (close, closed) = mpsc::channel();
        // Ends with the process of the test.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = open.send(());
                let _ = serve(&mut stream);
                drop(stream);
                let _ = close.send(());
            }
        });
        Self { address, opened, closed }
    }

    fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }

    /// Waits until the server has closed a connection.
    fn closed(&self) {
        self.closed.recv_timeout(PATIENCE).unwrap();
    }

    /// Returns the number of connections opened since the last call.
    fn connections(&self) -> usize {
        self.opened.try_iter().count()
    }
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        Ok::<_, io::Error>(line.trim_end().to_owned())
    };
    let first = line()?;
    let [method, target, _] = first.split(' ').collect::<Vec<_>>()[..] else { return Ok(None) };
    let (method, target) = (method.parse().map_err(io::Error::other)?, target.to_owned());
    let mut headers = HeaderMap::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        let name: http::HeaderName = name.parse().map_err(io::Error::other)?;
        headers.append(name, value.parse().map_err(io::Error::other)?);
    }
    let text = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let host = text("host");
    let mut body = vec![0; text("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, target, host, headers, body }))
}

/// The response of this crate's registry.
fn respond(server: &Server, memory: &Memory, request: &Request) -> Response<Bytes> {
    let head = http::Request::builder().method(&request.method).uri(&request.target).body(()).unwrap();
    server.respond(&head.into_parts().0).map(|body| match body {
        Body::Empty => Bytes::new(),
        Body::Bytes(bytes) => bytes,
        Body::Blob { digest, range } => {
            let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            memory.bytes(&digest).unwrap().slice(range)
        }
    })
}

fn write_response(stream: &mut TcpStream, response: &Response<Bytes>, framed: Framed) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {}\r\n", response.status());
    for (name, value) in response.headers().iter().filter(|(name, _)| *name != "content-length") {
        head.extend([name.as_str(), ": ", value.to_str().unwrap(), "\r\n"]);
    }
    let body = response.body();
    stream.write_all(head.as_bytes())?;
    match framed {
        Framed::Length => {
            // A response to HEAD has the Content-Length of a response to GET.
            let length = response.headers().get("content-length").filter(|_| body.is_empty());
            let length = length.map_or(body.len().to_string(), |length| length.to_str().unwrap().to_owned());
            write!(stream, "Content-Length: {length}\r\n\r\n")?;
            stream.write_all(body)
        }
        Framed::Chunked => {
            stream.write_all(b"Transfer-Encoding: chunked\r\n\r\n")?;
            for chunk in body.chunks(100) {
                write!(stream, "{:x};note=\"an extension\"\r\n", chunk.len())?;
                stream.write_all(chunk)?;
                stream.write_all(b"\r\n")?;
            }
            stream.write_all(b"0\r\nTrailer: none\r\n\r\n")
        }
        Framed::UntilClosed => {
            stream.write_all(b"\r\n")?;
            stream.write_all(body)?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
    }
}

//! Drives the core with owned buffers, like runtimes on `io_uring` and IOCP: a read takes ownership of a
//! buffer, and returns it on completion. Bodies reach their sinks in the buffers that they were read into,
//! without a copy. The ring is simulated, and a registry in this program answers its requests.
//!
//! The simulated ring never stalls, and its registry sends no interim responses and states the length of each body. A
//! driver of real sockets links a timeout to each connect, read and write, reports the address that it connected to, and
//! fulfils the other [duties of a driver](oci_proto::driver).
//!
//! `cargo run -p oci-proto --example owned_buffers`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::io::Write as _;

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use httparse::Status;
use oci_proto::server::{Body, Content as _, Flavour, Memory, Server};
use oci_proto::{Algorithm, Answer, Awaiting, Completion, Config, Digest, Event, Exchange, Fault, FaultKind};
use oci_proto::{OpId, Output, Question, Receiving, Rest, Session, Sink, Time};

fn main() -> Result<(), Box<dyn Error>> {
    let report = run()?;
    println!("{} bytes reached their sinks in {} pieces, without a copy.", report.bytes, report.pieces);
    println!("{} pieces were parts of what was read.", report.parts);
    Ok(())
}

/// The bytes delivered to sinks.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) bytes: usize,
    pub(crate) pieces: usize,
    /// The number of pieces that are only a part of the bytes of a read.
    pub(crate) parts: usize,
}

/// Fetches two layers at once.
pub(crate) fn run() -> Result<Report, Box<dyn Error>> {
    let layers =
        [7, 11].map(|factor| (0..300_000_u32).map(|i| (i * factor).to_le_bytes()[1]).collect::<Vec<_>>());
    let mut memory = Memory::new();
    let image = memory.add_image(Flavour::OCI, None, &layers.each_ref().map(Vec::as_slice));
    let mut server = Server::new();
    server.add(&"demo".parse()?, None, &image, &memory)?;
    let mut ring = Ring { server, memory, connections: Vec::new(), completed: VecDeque::new() };

    let mut session = Session::new(Config::default(), 0);
    let digests = layers.each_ref().map(|layer| Digest::of(Algorithm::Sha256, layer));
    let mut ops = Vec::new();
    for digest in &digests {
        ops.push(session.blob(&format!("registry.example/demo@{digest}").parse()?, None));
    }
    let mut driver = Driver::default();
    let mut running = digests.len();
    // Time passes only if the session waits for nothing else.
    let mut now = Time::ZERO;
    while running > 0 {
        match session.poll_output(now) {
            Output::Send(exchange) => driver.start(&mut ring, exchange),
            Output::Ask(query, question) => {
                let answer = match question {
                    Question::Credentials(_) => Answer::Credentials(None),
                    _ => Answer::Failed(Fault::new(FaultKind::Unsupported, "only sinks are there")),
                };
                session.answer(now, query, answer);
            }
            Output::Event(_, Event::Done) => running -= 1,
            Output::Event(_, Event::Failed(error)) => return Err(error.into()),
            // Not needed here: no operation ends before its exchanges.
            Output::Event(..) | Output::Abort(_) => {}
            Output::Wait(until) => match (ring.completed.pop_back(), until) {
                (Some(done), _) => {
                    if let Some(completion) = driver.advance(&mut ring, done) {
                        session.complete(now, completion);
                    }
                }
                (None, Some(until)) => now = until,
                (None, None) => unreachable!("every exchange has an operation in the ring"),
            },
        }
    }
    for ((op, digest), layer) in ops.into_iter().zip(digests).zip(layers) {
        assert_eq!(driver.sinks[&(op, digest)].concat(), layer);
    }
    Ok(driver.report)
}

/// The exchanges in flight, each on its own connection, and the sinks of their bodies.
#[derive(Default)]
struct Driver {
    carried: BTreeMap<usize, Stage>,
    /// The pieces of each content, in order. A driver with files would write each piece.
    sinks: BTreeMap<(OpId, Digest), Vec<Bytes>>,
    report: Report,
}

/// Large enough for any response's head.
const BUFFER: usize = 16 << 10;

enum Next {
    /// Reads into the free part of this buffer.
    Read(Stage, BytesMut),
    Over(Completion),
}

enum Stage {
    Asking(Awaiting),
    /// With the number of bytes left in the body.
    Answered(Receiving, usize),
}

impl Stage {
    fn fail(self, fault: Fault) -> Completion {
        match self {
            Self::Asking(awaiting) => awaiting.fail(fault),
            Self::Answered(receiving, _) => receiving.fail(fault),
        }
    }
}

impl Driver {
    fn start(&mut self, ring: &mut Ring, exchange: Exchange) {
        let (request, _, awaiting) = exchange.split();
        let uri = request.uri();
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let mut text = format!("{} {target} HTTP/1.1\r\nHost: {host}\r\n", request.method());
        for (name, value) in request.headers() {
            text.extend([name.as_str(), ": ", value.to_str().unwrap_or_default(), "\r\n"]);
        }
        text += "\r\n";
        let connection = ring.connect();
        self.carried.insert(connection, Stage::Asking(awaiting));
        // The ring owns the bytes until they are written.
        ring.write(connection, Bytes::from(text));
    }

    /// Handles a completion of the ring. Returns the completion of an exchange that has ended.
    fn advance(&mut self, ring: &mut Ring, (connection, done): (usize, Done)) -> Option<Completion> {
        let stage = self.carried.remove(&connection)?;
        let next = match done {
            Done::Written(_) => Next::Read(stage, BytesMut::with_capacity(BUFFER)),
            Done::Read(_, 0) => {
                let fault = Fault::new(FaultKind::Reset, "the connection was closed too early");
                Next::Over(stage.fail(fault))
            }
            Done::Read(buffer, _) => self.take(stage, buffer),
        };
        match next {
            Next::Read(stage, buffer) => {
                self.carried.insert(connection, stage);
                ring.read(connection, buffer);
                None
            }
            Next::Over(completion) => Some(completion),
        }
    }

    /// Handles a buffer that was read.
    fn take(&mut self, stage: Stage, mut buffer: BytesMut) -> Next {
        let (mut receiving, left) = match stage {
            Stage::Asking(awaiting) => match parse_head(&buffer) {
                Ok(Some((length, status, headers))) => {
                    buffer.advance(length);
                    let length =
                        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
                    let Some(left) = length else {
                        let fault = Fault::new(FaultKind::Unsupported, "a body without a Content-Length");
                        return Next::Over(awaiting.fail(fault));
                    };
                    (awaiting.head(status, headers), left)
                }
                Ok(None) if buffer.len() < BUFFER => return Next::Read(Stage::Asking(awaiting), buffer),
                Ok(None) => {
                    return Next::Over(awaiting.fail(Fault::new(FaultKind::Reset, "the head is too long")));
                }
                Err(fault) => return Next::Over(awaiting.fail(fault)),
            },
            Stage::Answered(receiving, left) => (receiving, left),
        };
        let filled = buffer.as_ptr_range();
        // Splitting does not copy: both parts share the same memory.
        let chunk = buffer.split_to(left.min(buffer.len())).freeze();
        let sink = receiving.sink().cloned();
        // If the chunk is refused, `rest` has changed.
        if let (Ok(range), Some(sink)) = (receiving.push(&chunk), sink) {
            let piece = chunk.slice(range);
            assert!(piece.is_empty() || filled.contains(&piece.as_ptr()), "the piece was not copied");
            self.report.parts += usize::from(!piece.is_empty() && piece.len() < chunk.len());
            self.write(&sink, piece);
        }
        let left = left - chunk.len();
        // A new connection for each exchange: nothing is drained.
        if left == 0 || receiving.rest() != Rest::Wanted {
            return Next::Over(receiving.finish());
        }
        // The piece may be in use by the disk for a long time, so the next read uses another buffer.
        Next::Read(Stage::Answered(receiving, left), BytesMut::with_capacity(BUFFER))
    }

    fn write(&mut self, sink: &Sink, piece: Bytes) {
        let pieces = self.sinks.entry((sink.op, sink.digest.clone())).or_default();
        let had: usize = pieces.iter().map(Bytes::len).sum();
        assert_eq!(had as u64, sink.offset, "no exchange is lost here, so no byte is repeated");
        if !piece.is_empty() {
            self.report.pieces += 1;
            self.report.bytes += piece.len();
            pieces.push(piece);
        }
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<(usize, StatusCode, HeaderMap)>, Fault> {
    let broken = |error: &dyn std::fmt::Display| Fault::new(FaultKind::Reset, error);
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let Status::Complete(length) = head.parse(bytes).map_err(|error| broken(&error))? else {
        return Ok(None);
    };
    let status = StatusCode::from_u16(head.code.unwrap_or_default()).map_err(|error| broken(&error))?;
    let mut headers = HeaderMap::new();
    for field in head.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|error| broken(&error))?;
        headers.append(name, HeaderValue::from_bytes(field.value).map_err(|error| broken(&error))?);
    }
    Ok(Some((length, status, headers)))
}

/// A simulated ring. An operation owns its buffer from submission to completion. Completions are in a
/// different order than submissions.
struct Ring {
    server: Server,
    memory: Memory,
    /// The bytes that each connection has yet to deliver.
    connections: Vec<Bytes>,
    completed: VecDeque<(usize, Done)>,
}

enum Done {
    /// The bytes that were written, whose buffer may be reused.
    Written(#[expect(dead_code, reason = "this driver allocates a buffer for each request")] Bytes),
    /// A buffer with this many new bytes; 0 at the end of the stream.
    Read(BytesMut, usize),
}

impl Ring {
    fn connect(&mut self) -> usize {
        self.connections.push(Bytes::new());
        self.connections.len() - 1
    }

    /// Submits a write. Each request is written at once, and the registry answers it.
    fn write(&mut self, connection: usize, bytes: Bytes) {
        let mut answer = answer(&self.server, &self.memory, &bytes);
        // The first connection breaks in the middle of its blob.
        if connection == 0 {
            answer.truncate(200_000);
        }
        self.connections[connection] = answer.into();
        self.completed.push_back((connection, Done::Written(bytes)));
    }

    /// Submits a read into the free part of a buffer, which has at least the size of a packet.
    fn read(&mut self, connection: usize, mut buffer: BytesMut) {
        let incoming = &mut self.connections[connection];
        let length = (buffer.capacity() - buffer.len()).min(incoming.len()).min(9000);
        buffer.extend_from_slice(&incoming.split_to(length));
        self.completed.push_back((connection, Done::Read(buffer, length)));
    }
}

/// The response of a registry that ignores ranges, so that a resumed body starts at byte 0.
fn answer(server: &Server, memory: &Memory, request: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(request);
    let target = text.split(' ').nth(1).unwrap_or("/");
    let request = Request::get(target).header("Host", "registry.example").body(());
    let (head, ()) = request.expect("the driver's target is a URL").into_parts();
    let (head, body) = server.respond(&head).into_parts();
    let mut bytes = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        let _ = write!(bytes, "{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes()));
    }
    bytes.extend(b"\r\n");
    match body {
        Body::Empty => {}
        Body::Bytes(body) => bytes.extend(body),
        Body::Blob { digest, .. } => bytes.extend(memory.bytes(&digest).unwrap_or_default()),
    }
    bytes
}

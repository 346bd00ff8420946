//! A server on loopback.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use oci_proto::Reference;
use oci_proto::server::{Body, Content, Memory, Server};

/// The framing of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Framed {
    Length,
    Chunked,
    UntilClosed,
}

/// The timeout for messages from the server of a test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server on loopback for one test.
pub(crate) struct Loopback {
    address: String,
    /// Receives a message for each opened connection.
    opened: mpsc::Receiver<()>,
    /// Receives a message for each closed connection.
    closed: mpsc::Receiver<()>,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) host: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Loopback {
    /// Answers every request on every connection, until `answer` fails or the client disconnects.
    pub(crate) fn start(
        answer: impl Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + 'static,
    ) -> Self {
        Self::start_raw(move |stream| {
            let mut reader = BufReader::new(stream.try_clone()?);
            while let Some(request) = read_request(&mut reader)? {
                answer(&request, stream)?;
            }
            Ok(())
        })
    }

    /// Serves one connection after another.
    pub(crate) fn start_raw(serve: impl Fn(&mut TcpStream) -> io::Result<()> + Send + 'static) -> Self {
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

    pub(crate) fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }

    /// Waits until the server has closed a connection.
    pub(crate) fn closed(&self) {
        self.closed.recv_timeout(PATIENCE).unwrap();
    }

    /// Returns the number of connections opened since the last call.
    pub(crate) fn connections(&self) -> usize {
        self.opened.try_iter().count()
    }
}

pub(crate) fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let Some(mut request) = read_head(reader)? else { return Ok(None) };
    let length = request.headers.get("content-length").map_or("0", |value| value.to_str().unwrap());
    request.body = vec![0; length.parse().unwrap_or(0)];
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

/// Reads a request up to its body.
pub(crate) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
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
    Ok(Some(Request { method, target, host, headers, body: Vec::new() }))
}

/// The response of this crate's registry.
pub(crate) fn respond(server: &Server, memory: &Memory, request: &Request) -> Response<Bytes> {
    let head = http::Request::builder().method(&request.method).uri(&request.target);
    let head = head.header("Host", &request.host).body(()).unwrap();
    server.respond(&head.into_parts().0).map(|body| match body {
        Body::Empty => Bytes::new(),
        Body::Bytes(bytes) => bytes,
        Body::Blob { digest, range } => {
            let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            memory.bytes(&digest).unwrap().slice(range)
        }
    })
}

pub(crate) fn write_response(
    stream: &mut TcpStream,
    response: &Response<Bytes>,
    framed: Framed,
) -> io::Result<()> {
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

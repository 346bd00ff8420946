//! HTTP/1.1 at the level of bytes, so that tests can violate the protocol.

use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use rustls::{ServerConnection, StreamOwned};
use serde_json::Value;

/// A server's reaction to a request.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Reply {
    /// Sends a response. A body without a Content-Length is chunked (RFC 9112, section 7.1).
    Answer {
        /// The status.
        status: StatusCode,
        /// The headers, unchanged.
        headers: HeaderMap,
        /// The body.
        body: Bytes,
        /// The number of bytes after which the connection closes in the middle of the body.
        cut: Option<usize>,
    },
    /// Closes the connection.
    Close,
    /// Sends nothing and keeps the connection open.
    Silence,
}

impl Reply {
    /// A complete response.
    ///
    /// # Panics
    /// The status or a header is invalid.
    pub fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let mut all = HeaderMap::new();
        all.insert(CONTENT_LENGTH, body.len().into());
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("the test has a valid header name");
            all.append(name, value.parse().expect("the test has a valid header value"));
        }
        let status = StatusCode::from_u16(status).expect("the test has a valid status");
        Self::Answer { status, headers: all, body, cut: None }
    }

    /// A complete response with a JSON body.
    ///
    /// # Panics
    /// The status is invalid.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, &[("content-type", "application/json")], body.to_string())
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Secure(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::Plain(stream)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Secure(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Secure(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Secure(stream) => stream.flush(),
        }
    }
}

/// The head of a request.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    /// The length of the body.
    pub(crate) length: usize,
}

/// Reads the head of a request; `None` if the connection ends before one.
pub(crate) fn read_head(stream: &mut impl BufRead) -> io::Result<Option<Head>> {
    let wrong = |line: &str| io::Error::new(io::ErrorKind::InvalidData, line.to_owned());
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Err(wrong(&line)) };
    let method = method.parse().map_err(|_| wrong(&line))?;
    let target = target.to_owned();
    let mut headers = HeaderMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let text = line.trim_end();
        if text.is_empty() {
            break;
        }
        let (name, value) = text.split_once(':').ok_or_else(|| wrong(text))?;
        let name: HeaderName = name.parse().map_err(|_| wrong(text))?;
        let value: HeaderValue = value.trim().parse().map_err(|_| wrong(text))?;
        headers.append(name, value);
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    Ok(Some(Head { method, target, headers, length: length.unwrap_or(0) }))
}

/// Writes a response to a request with `method`. Returns whether the connection can be reused.
pub(crate) fn write_reply(stream: &mut impl Write, method: &Method, reply: &Reply) -> io::Result<bool> {
    let Reply::Answer { status, headers, body, cut } = reply else { return Ok(false) };
    let mut message = start(*status, headers);
    let bodiless = *method == Method::HEAD || matches!(status.as_u16(), 204 | 304);
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let sent = &body[..cut.unwrap_or(body.len()).min(body.len())];
    let mut goes_on = cut.is_none();
    if bodiless {
        message.extend_from_slice(b"\r\n");
    } else if headers.contains_key(CONTENT_LENGTH) {
        message.extend_from_slice(b"\r\n");
        message.extend_from_slice(sent);
        // The client could not find the start of the next response.
        goes_on &= length == Some(body.len());
    } else {
        message.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
        if !body.is_empty() {
            message.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
            message.extend_from_slice(sent);
            message.extend_from_slice(if cut.is_none() { b"\r\n" } else { b"" });
        }
        message.extend_from_slice(if cut.is_none() { b"0\r\n\r\n" } else { b"" });
    }
    stream.write_all(&message)?;
    stream.flush()?;
    Ok(goes_on)
}

/// The first lines of a response, without the final empty line, so that more headers can follow.
pub(crate) fn start(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut message = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for (name, value) in headers {
        message.extend_from_slice(name.as_str().as_bytes());
        message.extend_from_slice(b": ");
        message.extend_from_slice(value.as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    message
}

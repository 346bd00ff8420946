//! HTTP/1.1 on a socket.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, Uri};
use oci_proto::{Fault, FaultKind};

use super::head::{Framing, Head, broken};

/// The limit on the head of a response, on a chunk-size line, and on trailers, in bytes.
const HEAD_BYTES: usize = 64 << 10;
/// The limit on 1xx responses before the final one.
const INTERIM_HEADS: u32 = 16;

/// An open connection.
pub(crate) struct Wire {
    pub(crate) address: String,
    /// Whether the connection can be reused: the last exchange ended as framed.
    pub(crate) is_in_order: bool,
    stream: TcpStream,
    /// Bytes that were read but not parsed yet.
    buffer: BytesMut,
    /// The number of 1xx responses in this exchange.
    interim: u32,
}

impl Wire {
    /// Connects to the first address of a host that is admitted and accepts the connection.
    pub(crate) fn open(
        address: String,
        silence: Duration,
        mut admit: impl FnMut(IpAddr) -> Result<(), Fault>,
    ) -> Result<Self, Fault> {
        let connect = |error| Fault::new(FaultKind::Connect, error);
        let mut failed = Fault::new(FaultKind::Connect, "the name has no address");
        for to in address.to_socket_addrs().map_err(connect)? {
            let mut opened =
                || admit(to.ip()).and_then(|()| TcpStream::connect_timeout(&to, silence).map_err(connect));
            match opened() {
                Ok(stream) => {
                    stream.set_read_timeout(Some(silence)).map_err(connect)?;
                    stream.set_write_timeout(Some(silence)).map_err(connect)?;
                    stream.set_nodelay(true).map_err(connect)?;
                    return Ok(Self {
                        address,
                        is_in_order: true,
                        stream,
                        buffer: BytesMut::new(),
                        interim: 0,
                    });
                }
                Err(fault) => failed = fault,
            }
        }
        Err(failed)
    }

    /// Returns the address of the server.
    ///
    /// Fails if the server has closed the idle connection, or has sent unexpected bytes.
    pub(crate) fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.set_nonblocking(true)?;
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false)?;
        match peeked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.buffer.is_empty() => {
                self.stream.peer_addr()
            }
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::other("the connection was closed while it was idle")),
        }
    }

    /// Sends the head of a request.
    pub(crate) fn start(&mut self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Fault> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
        for (name, value) in headers {
            text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        text.extend(b"\r\n");
        self.interim = 0;
        // If the first write fails, no byte was sent.
        let sent = self.stream.write(&text).map_err(|error| Fault::new(FaultKind::NotSent, error))?;
        self.write(&text[sent..])
    }

    /// Sends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.stream.write_all(bytes).map_err(fault)
    }

    /// Parses the head of the final response from the bytes that were read, if it is complete.
    ///
    /// Skips earlier 1xx responses. 101 is final, although no upgrade was requested.
    pub(crate) fn final_head(&mut self) -> Result<Option<Head>, Fault> {
        while let Some((length, head)) = Head::parse(&self.buffer)? {
            self.buffer.advance(length);
            if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Some(head));
            }
            self.interim += 1;
            if self.interim > INTERIM_HEADS {
                return Err(broken("too many 1xx responses"));
            }
        }
        if self.buffer.len() > HEAD_BYTES { Err(broken("the head is too long")) } else { Ok(None) }
    }

    /// Returns the next bytes of a body, or `None` at its framed end.
    pub(crate) fn body(&mut self, body: &mut Framing) -> Result<Option<Bytes>, Fault> {
        loop {
            match body {
                Framing::Length(0) => return Ok(None),
                Framing::UntilClosed => {
                    self.is_in_order = false;
                    let has_ended = self.buffer.is_empty() && self.read()? == 0;
                    return Ok(Some(self.buffer.split().freeze()).filter(|_| !has_ended));
                }
                Framing::Length(left @ 1..) | Framing::Chunk(left @ 1..) => {
                    if self.buffer.is_empty() {
                        self.fill()?;
                    }
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(self.buffer.len());
                    *left -= length as u64;
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
                Framing::Chunk(0) | Framing::ChunkSize | Framing::Trailers => {
                    match body.advance(&self.buffer)? {
                        Some(length) => self.buffer.advance(length),
                        None if self.buffer.len() > HEAD_BYTES => return Err(broken("a line is too long")),
                        None => self.fill()?,
                    }
                }
            }
        }
    }

    /// Reads more bytes of an incomplete message.
    pub(crate) fn fill(&mut self) -> Result<(), Fault> {
        if self.read()? == 0 { Err(broken("the connection was closed too early")) } else { Ok(()) }
    }

    /// Reads the bytes that have arrived, without waiting.
    pub(crate) fn read_ready(&mut self) -> Result<(), Fault> {
        self.stream.set_nonblocking(true).map_err(fault)?;
        let mut chunk = [0; 4 << 10];
        // The next use of the connection returns the error again.
        let length = self.stream.read(&mut chunk).unwrap_or(0);
        self.stream.set_nonblocking(false).map_err(fault)?;
        self.buffer.extend_from_slice(&chunk[..length]);
        Ok(())
    }

    fn read(&mut self) -> Result<usize, Fault> {
        let mut chunk = [0; 16 << 10];
        let length = self.stream.read(&mut chunk).map_err(fault)?;
        self.buffer.extend_from_slice(&chunk[..length]);
        Ok(length)
    }
}

fn fault(error: io::Error) -> Fault {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => FaultKind::Timeout,
        _ => FaultKind::Reset,
    };
    Fault::new(kind, error)
}

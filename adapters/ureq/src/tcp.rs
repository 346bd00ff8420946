//! The TCP connections of all requests, except to a SOCKS proxy: those are ureq's own. They differ from ureq's
//! in two ways, which matter to requests with a payload.
//!
//! - The kernel buffers at most `UNSENT_BYTES`, on systems that support such a limit. Otherwise it buffers
//!   megabytes: a payload is written long before it is sent, and a slow upload seems to make no progress.
//! - A response to an unfinished request stops the request. ureq writes a whole payload before it reads, so the
//!   connection discards the rest, and the [link](Link) tells the reader of the payload. Under TLS a response
//!   cannot be recognized, only that the server no longer reads: the connection is closed or broken.
//!
//! Reads differ on every connection, also to a SOCKS proxy: they end when the link says so, and a connection that
//! breaks is an error; see [`Linked`].

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};
use ureq::{Error, Timeout};

use crate::connecting::broken;
use crate::link::{self, Link};

/// The approximate limit on bytes that are written but not sent. It is enough to keep a link busy until a
/// waiting thread is woken, and small enough to be sent within the idle timeout at a few KiB per second.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT_BYTES: u32 = 128 << 10;
/// The limit on the head of an interim response, in bytes. A longer one hides an early response behind it.
const INTERIM_BYTES: usize = 64 << 10;
/// The minimum time for an address that is followed by others.
const LEAST_TIME: Duration = Duration::from_millis(10);
/// The time after which a blocked read or write looks at the link, and a write for an early response.
const BLOCKED: Duration = Duration::from_millis(250);

/// Connects unless an earlier connector of the chain has connected: to a SOCKS proxy, or through a tunnel.
#[derive(Debug)]
pub(crate) struct Tcp;

impl<In: Transport> Connector<In> for Tcp {
    type Out = Linked<Either<In, Connection>>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(transport) = chained {
            return Ok(Some(Linked(Either::A(transport))));
        }
        let config = details.config;
        let stream = Arc::new(Stream(connect(&details.addrs, details.timeout)?));
        stream.0.set_nodelay(config.no_delay())?;
        bound_unsent(&stream.0);
        let handle: Weak<Stream> = Arc::downgrade(&stream);
        (details.register_shutdown)(handle)?;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Linked(Either::B(Connection::new(stream, buffers)))))
    }
}

/// Tries the addresses in order. Each gets half of the remaining time, and the last one all of it.
fn connect(addresses: &[SocketAddr], timeout: NextTimeout) -> Result<TcpStream, Error> {
    let began = Instant::now();
    let mut failure = Error::HostNotFound;
    for (number, address) in addresses.iter().enumerate() {
        let left = timeout.after.saturating_sub(began.elapsed());
        if left.is_zero() || !Link::current().is_wanted() {
            return Err(Error::Timeout(timeout.reason));
        }
        let share = if number + 1 < addresses.len() { (left / 2).max(LEAST_TIME) } else { left };
        let connected = if timeout.after.is_not_happening() {
            TcpStream::connect(address)
        } else {
            TcpStream::connect_timeout(address, share)
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) if is_timeout(&error) => failure = Error::Timeout(timeout.reason),
            Err(error) => failure = Error::Io(error),
        }
    }
    Err(failure)
}

#[cfg(any(target_os = "android", target_os = "linux"))]
fn bound_unsent(stream: &TcpStream) {
    // The limit is an optimization: an error is ignored.
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES);
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
fn bound_unsent(_: &TcpStream) {}

/// Returns whether an error is a socket timeout, which has one of two kinds.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Returns whether a read or write may be tried again: after a socket timeout or a signal.
fn is_pause(error: &io::Error) -> bool {
    is_timeout(error) || error.kind() == ErrorKind::Interrupted
}

fn is_broken(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}

/// Returns the length of the head at the start of `bytes`, if all of it is there.
fn head_length(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        length += line.len();
        if matches!(line, b"\n" | b"\r\n") {
            return Some(length);
        }
    }
    None
}

/// A socket, which another thread may shut down.
#[derive(Debug)]
struct Stream(TcpStream);

impl Stream {
    /// Writes all bytes, unless the request that they continue is answered. Progress restarts the timeout of a
    /// write, but not the total one.
    fn write(&self, mut left: &[u8], continued: bool, timeout: NextTimeout) -> Result<Written, Error> {
        let link = Link::current();
        let mut stream = &self.0;
        let began = Instant::now();
        let mut progress = began;
        while !left.is_empty() {
            if began.elapsed() >= *timeout.after || !link.is_wanted() {
                return Err(Error::Timeout(timeout.reason));
            }
            if continued && self.has_response()? {
                return Ok(Written::Answered);
            }
            match stream.write(left) {
                Ok(0) => return Err(Error::Io(ErrorKind::WriteZero.into())),
                Ok(written) => {
                    left = &left[written..];
                    progress = Instant::now();
                }
                Err(error) if is_pause(&error) => {
                    if timeout.per_write.is_some_and(|time| progress.elapsed() >= *time) {
                        return Err(Error::Timeout(Timeout::PerWrite));
                    }
                }
                // The server may have answered before it closed the connection.
                Err(error) if continued && is_broken(&error) => return Ok(Written::Answered),
                Err(error) => return Err(Error::Io(error)),
            }
        }
        Ok(Written::All)
    }

    /// Returns whether the server has sent a final response, or the end of the stream. Discards interim
    /// responses. A TLS record is neither.
    fn has_response(&self) -> io::Result<bool> {
        loop {
            let mut start = [0; b"HTTP/1.1 102".len()];
            match self.peek(&mut start) {
                Ok(Some(0)) => return Ok(true),
                Ok(Some(length)) if length == start.len() && start.starts_with(b"HTTP/1.") => {}
                Ok(_) => return Ok(false),
                Err(error) if is_broken(&error) => return Ok(true),
                Err(error) => return Err(error),
            }
            let status = &start[b"HTTP/1.1 ".len()..];
            if status[0] != b'1' || status == b"101" {
                return Ok(true);
            }
            let mut head = vec![0; INTERIM_BYTES];
            let came = self.peek(&mut head)?.unwrap_or(0);
            let Some(length) = head_length(&head[..came]) else { return Ok(false) };
            (&self.0).read_exact(&mut head[..length])?;
        }
    }

    /// Returns the length of the start of the input, or `None` if nothing has come.
    fn peek(&self, start: &mut [u8]) -> io::Result<Option<usize>> {
        let stream = &self.0;
        stream.set_nonblocking(true)?;
        let peeked = stream.peek(start);
        stream.set_nonblocking(false)?;
        match peeked {
            Ok(length) => Ok(Some(length)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl ShutdownHandle for Stream {
    fn shutdown(&self) {
        // It fails only if the socket is already shut down.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

enum Written {
    All,
    Answered,
}

/// A connection, and the buffers that ureq reads and writes through.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Arc<Stream>,
    peer: Option<IpAddr>,
    buffers: LazyBuffers,
    /// The timeouts that are set on the socket. Caching them saves system calls.
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    /// Whether bytes were written since the last read.
    is_writing: bool,
    /// Whether a request was answered before its end. Its remaining bytes are discarded, and the connection is
    /// not used again.
    is_answered: bool,
}

impl Connection {
    fn new(stream: Arc<Stream>, buffers: LazyBuffers) -> Self {
        Self {
            peer: stream.0.peer_addr().ok().map(|peer| peer.ip()),
            stream,
            buffers,
            read_timeout: None,
            write_timeout: None,
            is_writing: false,
            is_answered: false,
        }
    }
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let link = Link::current();
        link.set_peer(self.peer);
        if self.is_answered {
            return Ok(());
        }
        let NextTimeout { after, reason, .. } = timeout.for_write();
        if after.is_zero() {
            return Err(Error::Timeout(reason));
        }
        let wait = Some((*after).min(BLOCKED));
        if self.write_timeout != wait {
            self.stream.0.set_write_timeout(wait)?;
            self.write_timeout = wait;
        }
        let output = &self.buffers.output()[..amount];
        if let Written::Answered = self.stream.write(output, self.is_writing, timeout)? {
            self.is_answered = true;
            link.set_answered();
        }
        self.is_writing = true;
        Ok(())
    }

    /// Waits once: an interrupted read is a timeout too. [`Linked`], which has the whole timeout, waits again.
    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.is_writing = false;
        let wait = Some(*timeout.after);
        if self.read_timeout != wait {
            self.stream.0.set_read_timeout(wait)?;
            self.read_timeout = wait;
        }
        match (&self.stream.0).read(self.buffers.input_append_buf()) {
            Ok(read) => {
                self.buffers.input_appended(read);
                Ok(read > 0)
            }
            Err(error) if is_pause(&error) => Err(Error::Timeout(timeout.reason)),
            Err(error) => Err(Error::Io(error)),
        }
    }

    /// Returns whether an idle connection is open: there is nothing to read, neither unexpected bytes nor the
    /// end of the stream.
    fn is_open(&mut self) -> bool {
        !self.is_answered && self.stream.peek(&mut [0]).is_ok_and(|length| length.is_none())
    }
}

/// A connection whose reads also end when the link of the exchange says so, and which [breaks](broken).
#[derive(Debug)]
pub(crate) struct Linked<T>(T);

impl<T: Transport> Transport for Linked<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let (link, began) = (Link::current(), Instant::now());
        loop {
            let left = timeout.after.saturating_sub(began.elapsed());
            if left.is_zero() || !link.is_wanted() {
                return Err(Error::Timeout(timeout.reason));
            }
            let left = left.min(link::time_left().map_err(Error::Timeout)?);
            // Almost always the same timeout, so that it need not be set on the socket again.
            let after = left.min(BLOCKED).into();
            match self.0.await_input(NextTimeout { after, ..timeout }) {
                Err(Error::Timeout(_)) => {}
                outcome => return outcome.map_err(broken),
            }
        }
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn a_write_with_progress_ends_after_its_total_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let reading = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut part = vec![0; 1 << 20];
            // The whole output takes 3 s.
            while stream.read(&mut part).is_ok_and(|read| read > 0) {
                thread::sleep(Duration::from_millis(100));
            }
        });
        let amount = 30 << 20;
        let mut connection = Connection::new(Arc::new(Stream(stream)), LazyBuffers::new(1, amount));
        connection.buffers().output();
        let timeout = NextTimeout {
            after: Duration::from_millis(500).into(),
            reason: Timeout::Global,
            per_read: None,
            per_write: Some(Duration::from_secs(30).into()),
        };
        let error = connection.transmit_output(amount, timeout).unwrap_err();
        assert!(matches!(error, Error::Timeout(Timeout::Global)), "{error}");
        drop(connection);
        reading.join().unwrap();
    }
}

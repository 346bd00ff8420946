//! TCP connections with a limit on unsent bytes in the kernel.
//!
//! With ureq's connections, the kernel buffers megabytes. A payload is then written long before it is sent,
//! and a slow upload seems to make no progress. These connections differ only in `UNSENT_BYTES`, on systems
//! that support such a limit.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, ShutdownHandle, Transport,
};

/// The approximate limit on bytes that are written but not sent. It is enough to keep a link busy until a
/// waiting thread is woken, and small enough to be sent within the idle timeout at a few KiB per second.
#[cfg(any(target_os = "android", target_os = "linux"))]
const UNSENT_BYTES: u32 = 128 << 10;
/// The minimum time for an address that is followed by others.
const LEAST_TIME: Duration = Duration::from_millis(10);

/// Connects unless an earlier connector of the chain has connected.
#[derive(Debug)]
pub(crate) struct Tcp;

impl<In: Transport> Connector<In> for Tcp {
    type Out = Either<In, Connection>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(transport) = chained {
            return Ok(Some(Either::A(transport)));
        }
        let config = details.config;
        let stream = Arc::new(Stream(connect(&details.addrs, details.timeout)?));
        stream.0.set_nodelay(config.no_delay())?;
        bound_unsent(&stream.0);
        let handle: Weak<Stream> = Arc::downgrade(&stream);
        (details.register_shutdown)(handle)?;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Either::B(Connection { stream, buffers, read_timeout: None, write_timeout: None })))
    }
}

/// Tries the addresses in order. Each gets half of the remaining time, and the last one all of it.
fn connect(addresses: &[SocketAddr], timeout: NextTimeout) -> Result<TcpStream, Error> {
    let began = Instant::now();
    let mut failure = Error::HostNotFound;
    for (number, address) in addresses.iter().enumerate() {
        let left = timeout.after.saturating_sub(began.elapsed());
        if left.is_zero() {
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

/// A socket, which another thread may shut down.
#[derive(Debug)]
struct Stream(TcpStream);

impl ShutdownHandle for Stream {
    fn shutdown(&self) {
        // It fails only if the socket is already shut down.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// A connection, and the buffers that ureq reads and writes through.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Arc<Stream>,
    buffers: LazyBuffers,
    /// The timeouts that are set on the socket. Caching them saves system calls.
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        let time = time(timeout)?;
        if self.write_timeout != time {
            self.stream.0.set_write_timeout(time)?;
            self.write_timeout = time;
        }
        // The timeout applies to each write call, so progress restarts it.
        (&self.stream.0).write_all(&self.buffers.output()[..amount]).map_err(|error| classify(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        let time = time(timeout)?;
        if self.read_timeout != time {
            self.stream.0.set_read_timeout(time)?;
            self.read_timeout = time;
        }
        let began = Instant::now();
        let read = loop {
            match (&self.stream.0).read(self.buffers.input_append_buf()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {
                    if time.is_some_and(|time| began.elapsed() >= time) {
                        return Err(Error::Timeout(timeout.reason));
                    }
                }
                outcome => break outcome.map_err(|error| classify(error, timeout))?,
            }
        };
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    /// Returns whether an idle connection is open: there is nothing to read, neither unexpected bytes nor the
    /// end of the stream.
    fn is_open(&mut self) -> bool {
        let stream = &self.stream.0;
        let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        let is_quiet = peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        is_quiet && stream.set_nonblocking(false).is_ok()
    }
}

/// Returns the timeout for a system call, or `None` for no timeout.
fn time(timeout: NextTimeout) -> Result<Option<Duration>, Error> {
    if timeout.after.is_zero() {
        return Err(Error::Timeout(timeout.reason));
    }
    Ok((!timeout.after.is_not_happening()).then(|| *timeout.after))
}

fn classify(error: io::Error, timeout: NextTimeout) -> Error {
    if is_timeout(&error) { Error::Timeout(timeout.reason) } else { Error::Io(error) }
}

//! A loopback server whose responses the test supplies.

use std::io::{self, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::wire::{Head, Reply, read_head, write_reply};

/// A server that listens until it is dropped.
#[derive(Debug)]
pub struct Host {
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

/// A request of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The path and the query.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or its beginning if the host cuts it.
    pub body: Bytes,
    /// The length of the whole body.
    pub length: usize,
}

impl Asked {
    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The target's query, empty if it has none.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// A header as text; empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Host {
    /// Listens on a free port, and responds with `answer`.
    ///
    /// # Panics
    /// No port is available.
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::on(bind(), move |asked, stream| write_reply(stream, &asked.method, &answer(asked)))
    }

    /// Serves a listener. `answer` writes to the connection, and returns whether it stays open.
    pub(super) fn on(
        listener: TcpListener,
        answer: impl Fn(&Asked, &mut TcpStream) -> io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        Self::cutting(listener, |asked| asked.length, answer)
    }

    /// The same, but reads only as many bytes of a body as `length` returns.
    pub(super) fn cutting(
        listener: TcpListener,
        length: impl Fn(&Asked) -> usize + Send + Sync + 'static,
        answer: impl Fn(&Asked, &mut TcpStream) -> io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("a listener has an address");
        let over = Arc::new(AtomicBool::new(false));
        let (is_over, length, answer) = (over.clone(), Arc::new(length), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                let (length, answer) = (length.clone(), answer.clone());
                // Broken connections are visible to the client, and often intended by the test.
                thread::spawn(move || converse(stream, &*length, &*answer));
            }
        });
        Self { address, over }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which ends.
        let _ = TcpStream::connect(self.address);
    }
}

/// A listener on a free port.
pub(super) fn bind() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free on loopback")
}

fn converse(
    stream: TcpStream,
    length: &dyn Fn(&Asked) -> usize,
    answer: &dyn Fn(&Asked, &mut TcpStream) -> io::Result<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(head) = read_head(&mut stream)? {
        let Head { method, target, headers, length: whole } = head;
        let mut asked = Asked { method, target, headers, body: Bytes::new(), length: whole };
        let mut body = vec![0; length(&asked).min(whole)];
        stream.read_exact(&mut body)?;
        asked.body = body.into();
        // After an incomplete request, the start of the next one is unknown.
        if !answer(&asked, stream.get_mut())? || asked.body.len() < whole {
            break;
        }
    }
    Ok(())
}

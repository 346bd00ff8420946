//! A server on loopback whose every answer is a test's.

use std::io::{self, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::wire::{Reply, read_head, write_reply};

/// A server that listens until this is dropped.
#[derive(Debug)]
pub struct Host {
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

/// What a client asks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The path and the query.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Asked {
    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The target's query, empty where it has none.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// A header that is text, empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Host {
    /// Listens on a port of its own, and answers as it is told.
    ///
    /// # Panics
    /// There is no port to be had.
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::on(bind(), move |asked, stream| write_reply(stream, &asked.method, &answer(asked)))
    }

    /// Answers at a listener. What answers writes to the connection, and says whether that goes on.
    pub(super) fn on(
        listener: TcpListener,
        answer: impl Fn(&Asked, &mut TcpStream) -> io::Result<bool> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("a listener has an address");
        let over = Arc::new(AtomicBool::new(false));
        let (is_over, answer) = (over.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                let answer = answer.clone();
                // A connection that breaks is what its client sees, and often what a test wants.
                thread::spawn(move || converse(stream, &*answer));
            }
        });
        Self { address, over }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // The accepting thread looks up, and ends.
        let _ = TcpStream::connect(self.address);
    }
}

/// A listener on a port that nobody else has.
pub(super) fn bind() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port on loopback")
}

fn converse(
    stream: TcpStream,
    answer: &dyn Fn(&Asked, &mut TcpStream) -> io::Result<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    while let Some(head) = read_head(&mut stream)? {
        let mut body = vec![0; head.length];
        stream.read_exact(&mut body)?;
        let asked =
            Asked { method: head.method, target: head.target, headers: head.headers, body: body.into() };
        if !answer(&asked, stream.get_mut())? {
            break;
        }
    }
    Ok(())
}

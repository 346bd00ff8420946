//! A server that sends what it is told to, as slowly and as long as it is told to.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// What is sent to whoever asks.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub(crate) begin: Bytes,
    /// What follows, again and again, until nobody takes it.
    pub(crate) then: Bytes,
    /// How long to wait before each of these.
    pub(crate) pause: Duration,
}

/// A server, and what it has done.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    written: AtomicUsize,
    open: AtomicUsize,
}

impl Server {
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let shared = seen.clone();
        // Both end with the process; a connection's thread ends when nobody reads.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, seen) = (script.clone(), shared.clone());
                seen.open.fetch_add(1, Ordering::SeqCst);
                thread::spawn(move || {
                    let _ = treat(&stream, &script, &seen);
                    drop(stream);
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, seen }
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// How many bytes were taken, by the client or by the system between.
    pub(crate) fn written(&self) -> usize {
        self.seen.written.load(Ordering::SeqCst)
    }

    /// Whether the client closes all connections in time.
    pub(crate) fn is_left_alone_within(&self, time: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < time {
            if self.seen.open.load(Ordering::SeqCst) == 0 {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

fn treat(mut stream: &TcpStream, script: &Script, seen: &Seen) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    seen.requests.fetch_add(1, Ordering::SeqCst);
    let mut send = |bytes: &Bytes| -> io::Result<()> {
        stream.write_all(bytes)?;
        seen.written.fetch_add(bytes.len(), Ordering::SeqCst);
        Ok(())
    };
    send(&script.begin)?;
    while !script.then.is_empty() {
        thread::sleep(script.pause);
        send(&script.then)?;
    }
    Ok(())
}

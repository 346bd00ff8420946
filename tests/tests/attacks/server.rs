//! A server that sends a scripted response, as slowly and as long as required.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// The response to every request.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub(crate) begin: Bytes,
    /// Repeated after the head until the client disconnects.
    pub(crate) then: Bytes,
    /// The delay before each repetition.
    pub(crate) pause: Duration,
}

/// A server and its statistics.
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
        // Both threads end with the process; that of a connection ends when the client disconnects.
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

    /// The number of requests.
    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.load(Ordering::SeqCst)
    }

    /// The number of bytes sent, including those in socket buffers.
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

//! Every server of a test, behind one proxy on loopback. The test answers for each host, also over TLS, so
//! that clients use real URLs whatever the host.

pub(crate) mod authority;

use std::io::{self, BufRead, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::wire::{self, Stream, read_head, write_reply};

pub use crate::wire::Reply;
pub use authority::Authority;

/// The servers of a test. They shut down when this is dropped.
#[derive(Debug)]
pub struct Internet {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    authority: Arc<Authority>,
    arrived: Mutex<Arrived>,
    came: Condvar,
    over: AtomicBool,
}

/// What has arrived, and was not taken.
#[derive(Debug, Default)]
struct Arrived {
    /// The method and the URL of each request whose head was read.
    heads: Vec<(Method, String)>,
    /// Whole requests, which wait for a response.
    requests: Vec<Request>,
}

impl Arrived {
    fn take_head(&mut self, method: &str, url: &str) -> Option<(Method, String)> {
        let found = self.heads.iter().position(|(had, at)| had == method && at == url)?;
        Some(self.heads.remove(found))
    }
}

/// A request that waits for its response. Dropping it closes its connection.
#[derive(Debug)]
#[non_exhaustive]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Its absolute URL.
    pub url: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    reply: mpsc::Sender<Reply>,
}

impl Request {
    /// Sends the response. Does nothing if the client has disconnected.
    pub fn reply(self, reply: Reply) {
        let _ = self.reply.send(reply);
    }

    /// Sends the response. If it breaks off, the connection stays open and silent.
    pub fn reply_and_rest(self, reply: Reply) {
        for reply in [reply, Reply::Silence] {
            let _ = self.reply.send(reply);
        }
    }
}

impl Internet {
    /// Servers with certificates signed by the authority.
    ///
    /// # Panics
    /// No port is available.
    pub fn start(authority: Arc<Authority>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free on loopback");
        let address = listener.local_addr().expect("a listener has an address");
        let (arrived, came, over) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
        let shared = Arc::new(Shared { authority, arrived, came, over });
        let accepting = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.over.load(Ordering::SeqCst) {
                    break;
                }
                let shared = accepting.clone();
                // Broken connections are visible to the client, and part of many tests.
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    /// The URL of the proxy for clients.
    pub fn proxy(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for a request with this method and URL, and takes it.
    pub fn take(&self, method: &str, url: &str, within: Duration) -> Option<Request> {
        self.shared.wait(within, |arrived| {
            let mut requests = arrived.requests.iter();
            let found = requests.position(|request| request.method == method && request.url == url)?;
            arrived.take_head(method, url);
            Some(arrived.requests.remove(found))
        })
    }

    /// Waits for the head of a request with this method and URL, whose body need not arrive.
    pub(crate) fn take_head(&self, method: &str, url: &str, within: Duration) -> Option<(Method, String)> {
        self.shared.wait(within, |arrived| arrived.take_head(method, url))
    }

    /// The requests that were not taken.
    pub fn left(&self) -> Vec<String> {
        self.shared
            .lock()
            .requests
            .iter()
            .map(|request| format!("{} {}", request.method, request.url))
            .collect()
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Ends pending requests and the accepting thread.
        self.shared.lock().requests.clear();
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `take` returns something.
    fn wait<T>(&self, within: Duration, mut take: impl FnMut(&mut Arrived) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + within;
        let mut arrived = self.lock();
        loop {
            if let Some(taken) = take(&mut arrived) {
                return Some(taken);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            arrived = self.came.wait_timeout(arrived, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Serves a connection as an HTTP proxy.
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        let Some(head) = read_head(&mut stream)? else { return Ok(()) };
        if head.method != Method::CONNECT {
            return self.converse(&mut stream.into_inner().into(), "", Some(head));
        }
        let mut stream = stream.into_inner();
        io::Write::write_all(&mut stream, b"HTTP/1.1 200 Connected\r\n\r\n")?;
        let (host, port) = head.target.rsplit_once(':').unwrap_or((&head.target, "443"));
        let mut first = [0];
        stream.peek(&mut first)?;
        // The type of a TLS handshake record (RFC 8446, section 5.1).
        if first == [22] {
            let base =
                if port == "443" { format!("https://{host}") } else { format!("https://{host}:{port}") };
            let name = host.trim_start_matches('[').trim_end_matches(']');
            self.converse(&mut self.authority.secure(name, stream)?, &base, None)
        } else {
            let base = if port == "80" { format!("http://{host}") } else { format!("http://{host}:{port}") };
            self.converse(&mut stream.into(), &base, None)
        }
    }

    /// Serves requests with URLs that begin with `base`, one after another.
    fn converse(&self, stream: &mut Stream, base: &str, mut first: Option<wire::Head>) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let head = match first.take() {
                Some(head) => head,
                None => match read_head(&mut stream)? {
                    Some(head) => head,
                    None => return Ok(()),
                },
            };
            let url = format!("{base}{}", head.target);
            let method = head.method.clone();
            self.lock().heads.push((method.clone(), url.clone()));
            self.came.notify_all();
            let mut body = vec![0; head.length];
            stream.read_exact(&mut body)?;
            let (reply, answer) = mpsc::channel();
            let request =
                Request { method: head.method, url, headers: head.headers, body: body.into(), reply };
            self.lock().requests.push(request);
            self.came.notify_all();
            match answer.recv() {
                Err(_) | Ok(Reply::Close) => return Ok(()),
                // Until the client closes the connection.
                Ok(Reply::Silence) => return stream.fill_buf().map(|_| ()),
                Ok(reply) => {
                    if !write_reply(stream.get_mut(), &method, &reply)? {
                        let rests = matches!(answer.recv(), Ok(Reply::Silence));
                        return if rests { stream.fill_buf().map(|_| ()) } else { Ok(()) };
                    }
                }
            }
        }
    }
}

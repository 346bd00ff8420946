//! Attacks on the registry server over sockets: each client is disconnected after a bounded time, and occupies
//! little memory until then.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use oci_proto::server::{Flavour, Memory, Server};
use oci_proto::{Algorithm, Digest};
use oci_proto_tokio::server::{Blobs, Options, Source};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::measure::turn;

/// The size of the blob that is served, in bytes. No socket holds as much.
const SIZE: usize = 16 << 20;
/// The timeout of the servers. The default is 30 seconds.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The time in which every client must be disconnected. Other programs may delay that.
const BOUND: Duration = Duration::from_secs(30);
/// The number of connections that one address can have.
const CONNECTIONS: usize = 256;
const PING: &[u8] = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n";

/// The blob, in a file.
struct InFile(PathBuf);

impl Blobs for InFile {
    async fn open(&self, _: &Digest, _: Range<u64>) -> io::Result<Source> {
        Ok(Source::Blocking(Box::new(File::open(&self.0)?)))
    }
}

/// The server under attack.
#[derive(Clone)]
struct Target {
    address: SocketAddr,
    /// A request of the blob.
    blob: Arc<str>,
}

impl Target {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    async fn send(&self, request: &[u8]) -> TcpStream {
        let mut stream = self.connect().await;
        // The server may have closed the connection.
        let _ = stream.write_all(request).await;
        stream
    }

    /// The status of a request from another address, in time.
    async fn answers_others(&self) -> bool {
        let ask = async {
            let socket = TcpSocket::new_v4()?;
            if cfg!(target_os = "linux") {
                socket.bind(([127, 0, 0, 2], 0).into())?;
            }
            let mut stream = socket.connect(self.address).await?;
            stream.write_all(PING).await?;
            let mut status = [0; 12];
            stream.read_exact(&mut status).await?;
            io::Result::Ok(status == *b"HTTP/1.1 200")
        };
        timeout(BOUND, ask).await.is_ok_and(|answered| answered.unwrap_or(false))
    }
}

/// Runs an attack, which may use `most` MiB.
fn attack<R: Future<Output = ()>>(most: usize, name: &str, attack: impl FnOnce(Target) -> R) {
    let turn = turn();
    let home = tempfile::tempdir().expect("a directory");
    let layer = vec![7; SIZE];
    let file = home.path().join("blob");
    std::fs::write(&file, &layer).expect("a file");
    let mut memory = Memory::new();
    let root = memory.add_image(Flavour::OCI, None, &[&layer]);
    let mut server = Server::new();
    let repository = "demo".parse().expect("a repository");
    server.add(&repository, None, &root, &memory).expect("the image is complete");
    let digest = Digest::of(Algorithm::Sha256, &layer);
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    turn.within(most, name, || {
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let blob = format!("GET /v2/demo/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n").into();
            let options = Options::default().timeout(TIMEOUT);
            tokio::spawn(options.serve(
                listener,
                Arc::new(server),
                InFile(file),
                std::future::pending::<()>(),
            ));
            attack(Target { address, blob }).await;
        });
    });
    runtime.shutdown_background();
}

/// Waits until the server has closed the connection, reading at most `bytes` each `interval`.
async fn closed(mut stream: TcpStream, bytes: usize, interval: Duration) {
    let mut buffer = vec![0; bytes];
    while matches!(stream.read(&mut buffer).await, Ok(1..)) {
        sleep(interval).await;
    }
}

/// Fails if not all clients are finished in time.
async fn all_end(mut clients: JoinSet<()>, what: &str) {
    let end = async { while clients.join_next().await.transpose().expect("no panic").is_some() {} };
    timeout(BOUND, end).await.unwrap_or_else(|_| panic!("{what}: a connection is still open"));
}

#[test]
fn stalled_readers() {
    attack(40, "256 clients that request a blob and read nothing", |target| async move {
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            streams.push(target.send(target.blob.as_bytes()).await);
        }
        // A write fails once the server has closed the connection; nothing is read.
        let mut clients = JoinSet::new();
        for mut stream in streams {
            clients.spawn(async move {
                while stream.write_all(b" ").await.is_ok() {
                    sleep(TIMEOUT / 10).await;
                }
            });
        }
        assert!(target.answers_others().await);
        all_end(clients, "a stalled reader").await;
    });
}

#[test]
fn slow_readers() {
    attack(40, "256 clients that read 100 bytes of a blob each tenth of a second", |target| async move {
        let mut clients = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let mut stream = target.send(target.blob.as_bytes()).await;
            clients.spawn(async move {
                // What the sockets hold takes long to read at this rate: a failed write shows the end earlier.
                while stream.read(&mut [0; 100]).await.is_ok_and(|read| read > 0)
                    && stream.write_all(b" ").await.is_ok()
                {
                    sleep(TIMEOUT / 10).await;
                }
            });
        }
        all_end(clients, "a slow reader").await;
    });
}

#[test]
fn slow_heads() {
    attack(16, "256 clients that send a head byte by byte", |target| async move {
        let mut clients = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let mut stream = target.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nx: ").await;
            clients.spawn(async move {
                while stream.write_all(b"y").await.is_ok() {
                    sleep(TIMEOUT / 10).await;
                }
            });
        }
        assert!(target.answers_others().await);
        all_end(clients, "a slow head").await;
    });
}

#[test]
fn slow_bodies() {
    attack(16, "256 clients that send a body byte by byte", |target| async move {
        let mut clients = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let head = b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
            let mut stream = target.send(head).await;
            clients.spawn(async move {
                while stream.write_all(b"y").await.is_ok() {
                    sleep(TIMEOUT / 10).await;
                }
            });
        }
        assert!(target.answers_others().await);
        all_end(clients, "a slow body").await;
    });
}

#[test]
fn many_connections() {
    attack(16, "2,000 connections from one address", |target| async move {
        let mut refused = 0;
        let mut open = Vec::new();
        let began = Instant::now();
        for _ in 0..2000 {
            let mut stream = target.send(PING).await;
            let mut status = [0; 12];
            match stream.read_exact(&mut status).await {
                Ok(_) if status == *b"HTTP/1.1 200" => open.push(stream),
                // A client may also only see that the connection is closed.
                _ => refused += 1,
            }
        }
        // Fewer are refused if that took so long that idle connections were closed meanwhile.
        assert!(refused == 2000 - CONNECTIONS || began.elapsed() > TIMEOUT, "{refused} refused");
        assert!(target.answers_others().await);
        let mut clients = JoinSet::new();
        for stream in open {
            clients.spawn(closed(stream, 1000, Duration::ZERO));
        }
        all_end(clients, "an idle connection").await;
    });
}

#[test]
fn clients_that_come_back() {
    attack(16, "300 clients that stall and reconnect for 5 s", |target| async move {
        let mut clients = JoinSet::new();
        let until = Instant::now() + 5 * TIMEOUT;
        for _ in 0..CONNECTIONS + 44 {
            let target = target.clone();
            clients.spawn(async move {
                while Instant::now() < until {
                    closed(target.send(b"GET /v2/ HTTP/1.1\r\n").await, 1000, Duration::ZERO).await;
                    // Each of them occupies a port for a minute.
                    sleep(TIMEOUT / 20).await;
                }
            });
        }
        let mut answered = 0;
        while Instant::now() < until {
            assert!(target.answers_others().await);
            answered += 1;
            sleep(TIMEOUT / 10).await;
        }
        assert!(answered > 0);
        all_end(clients, "a client that comes back").await;
    });
}

#[test]
fn big_headers() {
    let one = format!("x: {}\r\n", "y".repeat(1 << 20));
    let many = "x: y\r\n".repeat(10_000);
    for (name, lines) in [("one header of 1 MiB", one), ("10,000 headers", many)] {
        let request: Arc<[u8]> = format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{lines}\r\n").into_bytes().into();
        attack(16, &format!("{name}, from 100 clients"), |target| async move {
            let mut clients = JoinSet::new();
            for _ in 0..100 {
                let (target, request) = (target.clone(), request.clone());
                clients.spawn(async move {
                    let mut stream = target.send(&request).await;
                    let mut status = [0; 12];
                    // The server may reset the connection, since it does not read the rest.
                    if stream.read_exact(&mut status).await.is_ok() {
                        assert_eq!(status, *b"HTTP/1.1 431");
                    }
                });
            }
            all_end(clients, "a big header").await;
            assert!(target.answers_others().await);
        });
    }
}

#[test]
fn many_ranges() {
    let ranges = "0-0,".repeat(3500);
    attack(8, "1,000 requests with 3,500 ranges each", |target| async move {
        let head = target.blob.trim_end_matches("\r\n\r\n").replace("GET", "HEAD");
        let request = format!("{head}\r\nRange: bytes={ranges}\r\n\r\n");
        let mut stream = target.connect().await;
        for _ in 0..1000 {
            stream.write_all(request.as_bytes()).await.expect("the server reads");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let read = stream.read_buf(&mut head).await.expect("the server answers");
                assert!(read > 0, "the server closes the connection");
            }
            assert!(head.starts_with(b"HTTP/1.1 200"));
        }
    });
}

#[test]
fn many_requests() {
    attack(8, "200,000 requests over 4 connections, pipelined", |target| async move {
        let mut clients = JoinSet::new();
        for _ in 0..4 {
            let (mut reader, mut writer) = target.connect().await.into_split();
            clients.spawn(async move {
                let send = async {
                    let batch = PING.repeat(500);
                    for _ in 0..100 {
                        writer.write_all(&batch).await.expect("the server reads");
                    }
                };
                let receive = async {
                    let (mut answers, mut buffer) = (0, vec![0; 64 << 10]);
                    while answers < 50_000 {
                        let read = reader.read(&mut buffer).await.expect("the server answers");
                        assert!(read > 0, "the connection is closed after {answers} answers");
                        // Each response has one body, `{}`.
                        answers += buffer[..read].split(|byte| *byte == b'{').count() - 1;
                    }
                };
                tokio::join!(send, receive);
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended.expect("all requests are answered");
        }
    });
}

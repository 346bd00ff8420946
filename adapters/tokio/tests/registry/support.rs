//! A client that writes its requests by hand, and storages with faults.

use std::io::{self, Cursor, Read as BlockingRead};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use oci_proto::server::{Effect, Failure, MemoryStorage, Policy, Server, Storage, Unavailable, UploadId};
use oci_proto::{Algorithm, Digest, Repository, Tag};
use oci_proto_tokio::server::{LocalRegistry, Options, SharedRegistry, SharedStorage};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

pub(crate) async fn start() -> LocalRegistry {
    SharedRegistry::in_memory(Policy::open()).unwrap().listen().await.unwrap()
}

pub(crate) async fn start_with(policy: Policy, options: Options) -> LocalRegistry {
    SharedRegistry::in_memory(policy).unwrap().listen_with(options).await.unwrap()
}

pub(crate) fn percent(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F").replace('+', "%2B")
}

/// Adds a query parameter to a location as Go's clients do, which parse the query and write it again in sorted order.
pub(crate) fn with_query(location: &str, parameter: &str) -> String {
    let (path, query) = location.split_once('?').unwrap_or((location, ""));
    let mut parameters: Vec<&str> = query.split('&').filter(|text| !text.is_empty()).collect();
    parameters.push(parameter);
    parameters.sort_unstable();
    format!("{path}?{}", parameters.join("&"))
}

/// The body of a request.
#[derive(Clone, Copy)]
pub(crate) enum Sent<'a> {
    /// None, and no header that says so.
    Nothing,
    Whole(&'a [u8]),
    Chunked(&'a [&'a [u8]]),
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Statuses before the final one.
    pub(crate) interim: Vec<u16>,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(found, _)| found == name).map(|(_, value)| &**value).collect()
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let all = self.all(name);
        assert_eq!(all.len(), 1, "{name}: {self:?}");
        all[0]
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}: {}", String::from_utf8_lossy(&self.body));
        self
    }
}

/// A connection, which is opened again for the next request if the server closes it.
pub(crate) struct Http {
    pub(crate) stream: BufStream<TcpStream>,
    address: SocketAddr,
    is_closed: bool,
}

impl Http {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = BufStream::new(TcpStream::connect(address).await.unwrap());
        Self { stream, address, is_closed: false }
    }

    pub(crate) async fn write_head(&mut self, method: &str, target: &str, headers: &[&str]) {
        if self.is_closed {
            *self = Self::connect(self.address).await;
        }
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: registry:5000\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        self.stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn ask(
        &mut self,
        method: &str,
        target: &str,
        headers: &[&str],
        sent: Sent<'_>,
    ) -> Answer {
        let framing = match sent {
            Sent::Nothing => None,
            Sent::Whole(bytes) => Some(format!("Content-Length: {}", bytes.len())),
            Sent::Chunked(_) => Some("Transfer-Encoding: chunked".to_owned()),
        };
        let headers: Vec<&str> = headers.iter().copied().chain(framing.as_deref()).collect();
        self.write_head(method, target, &headers).await;
        match sent {
            Sent::Nothing => {}
            Sent::Whole(bytes) => self.stream.write_all(bytes).await.unwrap(),
            Sent::Chunked(chunks) => {
                for chunk in chunks {
                    self.stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await.unwrap();
                    self.stream.write_all(chunk).await.unwrap();
                    self.stream.write_all(b"\r\n").await.unwrap();
                }
                self.stream.write_all(b"0\r\n\r\n").await.unwrap();
            }
        }
        self.stream.flush().await.unwrap();
        self.read(method).await
    }

    pub(crate) async fn get(&mut self, target: &str) -> Answer {
        self.ask("GET", target, &[], Sent::Nothing).await
    }

    /// Opens an upload, and returns its location.
    pub(crate) async fn begin(&mut self, repository: &str) -> String {
        let target = format!("/v2/{repository}/blobs/uploads/");
        let begun = self.ask("POST", &target, &[], Sent::Whole(b"")).await.is(202);
        assert_eq!(begun.header("range"), "0-0");
        begun.header("location").to_owned()
    }

    /// Pushes a blob in one request.
    pub(crate) async fn push(&mut self, repository: &str, content: &[u8]) -> Answer {
        let digest = Digest::of(Algorithm::Sha256, content);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        self.ask("POST", &target, &[], Sent::Whole(content)).await
    }

    /// Reads a response.
    pub(crate) async fn read(&mut self, method: &str) -> Answer {
        self.try_read(method).await.expect("a response")
    }

    pub(crate) async fn try_read(&mut self, method: &str) -> io::Result<Answer> {
        let mut interim = Vec::new();
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.stream.read_u8().await?);
            }
            let head = String::from_utf8(head).unwrap();
            let mut lines = head.lines();
            let status: u16 = lines.next().unwrap()[9..12].parse().unwrap();
            if status < 200 {
                interim.push(status);
                continue;
            }
            let headers: Vec<_> = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            self.is_closed = headers.iter().any(|(name, value)| name == "connection" && value == "close");
            let mut answer = Answer { status, interim, headers, body: Vec::new() };
            if method != "HEAD" && ![204, 304].contains(&status) {
                answer.body = vec![0; answer.header("content-length").parse().unwrap()];
                self.stream.read_exact(&mut answer.body).await?;
            }
            return Ok(answer);
        }
    }

    /// Waits until the server closes the connection.
    pub(crate) async fn closed(&mut self) {
        while matches!(self.stream.read(&mut [0; 1024]).await, Ok(1..)) {}
    }
}

/// What a storage does.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) write: Option<Failure>,
    pub(crate) sync: Option<Failure>,
    pub(crate) apply: Option<Failure>,
    /// The next call of `apply` fails.
    pub(crate) apply_once: Option<Failure>,
    /// Calls of `apply` that set this tag fail.
    pub(crate) refused: Option<(Tag, Failure)>,
    /// Writes panic.
    pub(crate) panics: bool,
    /// Calls of `apply` wait while this is true.
    pub(crate) holds: bool,
    /// Writes wait while this is true.
    pub(crate) holds_writes: bool,
    /// The numbers of replies in each call of `apply`.
    pub(crate) applied: Vec<usize>,
    /// The number of calls that are in progress, and the largest so far.
    pub(crate) writing: (usize, usize),
    /// If blobs are opened: the number of them so far, and of those that are open.
    pub(crate) opened: Option<(usize, usize)>,
    /// The number of calls of `read`.
    pub(crate) reads: usize,
}

/// A storage in memory with faults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faulty {
    memory: SharedStorage<MemoryStorage>,
    faults: Arc<(Mutex<Faults>, Condvar)>,
}

impl Faulty {
    pub(crate) fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.0.lock().unwrap());
        self.faults.1.notify_all();
    }

    pub(crate) fn see<T>(&self, look: impl FnOnce(&Faults) -> T) -> T {
        look(&self.faults.0.lock().unwrap())
    }

    pub(crate) fn registry(&self, policy: Policy) -> SharedRegistry<Self> {
        SharedRegistry::new(Server::with_policy(policy, 7), self.clone()).unwrap()
    }
}

impl Storage for Faulty {
    fn write(
        &mut self,
        repository: &Repository,
        upload: &UploadId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        let failure = {
            let mut faults = self.faults.0.lock().unwrap();
            faults.writing.0 += 1;
            faults.writing.1 = faults.writing.1.max(faults.writing.0);
            let mut faults = self.faults.1.wait_while(faults, |faults| faults.holds_writes).unwrap();
            faults.writing.0 -= 1;
            if faults.panics {
                drop(faults);
                panic!("a storage panics");
            }
            faults.write
        };
        failure.map_or(Ok(()), Err)?;
        self.memory.write(repository, upload, offset, bytes)
    }

    fn sync(&mut self, upload: &UploadId) -> Result<(), Failure> {
        self.see(|faults| faults.sync).map_or(Ok(()), Err)?;
        self.memory.sync(upload)
    }

    fn read_upload(
        &self,
        upload: &UploadId,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Failure> {
        self.memory.read_upload(upload, range, take)
    }

    fn apply(&mut self, changes: &[(&Repository, &[Effect])]) -> Result<(), Failure> {
        let failure = {
            let mut faults = self.faults.0.lock().unwrap();
            faults.applied.push(changes.len());
            let mut faults = self.faults.1.wait_while(faults, |faults| faults.holds).unwrap();
            let tags = changes.iter().flat_map(|(_, effects)| *effects).filter_map(|effect| match effect {
                Effect::SetTag(tag, _) => Some(tag),
                _ => None,
            });
            let refused =
                faults.refused.clone().filter(|(refused, _)| tags.into_iter().any(|tag| tag == refused));
            faults.apply_once.take().or(faults.apply).or(refused.map(|(_, failure)| failure))
        };
        failure.map_or(Ok(()), Err)?;
        self.memory.apply(changes)
    }

    fn read(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Bytes, Unavailable> {
        self.set(|faults| faults.reads += 1);
        self.memory.read(repository, digest, range)
    }

    fn open(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Option<Box<dyn BlockingRead + Send>>, Unavailable> {
        let Some((opened, open)) = self.see(|faults| faults.opened) else { return Ok(None) };
        let content = self.memory.read(repository, digest, range)?;
        self.set(|faults| faults.opened = Some((opened + 1, open + 1)));
        Ok(Some(Box::new(OpenBlob { content: Cursor::new(content), storage: self.clone() })))
    }
}

struct OpenBlob {
    content: Cursor<Bytes>,
    storage: Faulty,
}

impl BlockingRead for OpenBlob {
    /// Reads less than it could.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(50_000);
        BlockingRead::read(&mut self.content, &mut buffer[..most])
    }
}

impl Drop for OpenBlob {
    fn drop(&mut self) {
        self.storage.set(|faults| faults.opened = faults.opened.map(|(opened, open)| (opened, open - 1)));
    }
}

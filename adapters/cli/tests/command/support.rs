//! Registries to ask, and the command that asks them.

use std::future::pending;
use std::io::{BufRead as _, BufReader, PipeWriter, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use oci_proto::Descriptor;
use oci_proto::server::{Memory, Server};
use oci_proto_tokio::server::serve;
use tokio::runtime;

pub(crate) const ADAPTERS: [&str; 2] = ["tokio", "ureq"];

/// Serves what is under `root` as `demo:latest`, until the test ends.
pub(crate) fn registry(memory: &Memory, root: &Descriptor) -> SocketAddr {
    let mut server = Server::new();
    server.add(&"demo".parse().unwrap(), "latest".parse().ok().as_ref(), root, memory).unwrap();
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let memory = memory.clone();
    thread::spawn(move || runtime.block_on(serve(listener, Arc::new(server), memory, pending::<()>())));
    address
}

pub(crate) fn sample() -> SocketAddr {
    let (memory, root) = Memory::sample();
    registry(&memory, &root)
}

/// Answers each request, of which it is told the path, with the bytes of a whole response.
pub(crate) fn scripted(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            thread::spawn(move || converse(&stream, &*answer));
        }
    });
    address
}

fn converse(stream: &TcpStream, answer: &dyn Fn(&str) -> Vec<u8>) {
    let head: Vec<String> =
        BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    // A client that hangs up early is none of this side's business.
    let _ = (&*stream).write_all(&answer(path));
}

/// A whole response. An answer to HEAD has too much body then, which a client must drop.
pub(crate) fn response(status: &str, media_type: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// What a run of the command left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// Fails the test unless the command did.
    #[track_caller]
    pub(crate) fn failed(&self, status: i32, said: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        for words in said {
            assert!(self.stderr.contains(words), "{words:?} is not in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }

    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.status, 0, "{}", self.stderr);
        self
    }
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ocip"));
    command.args(arguments).stdin(Stdio::null());
    for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "RUST_BACKTRACE"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
}

pub(crate) fn ocip(arguments: &[&str]) -> Ran {
    let output = command(arguments).output().unwrap();
    Ran {
        status: output.status.code().expect("no signal ends it"),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs the command on each adapter, which must make no difference to the results.
#[track_caller]
pub(crate) fn on_both(arguments: &[&str]) -> Ran {
    let [tokio, ureq] = ADAPTERS.map(|adapter| ocip(&[&["--adapter", adapter], arguments].concat()));
    assert_eq!((&tokio.stdout, tokio.status), (&ureq.stdout, ureq.status), "{tokio:?} {ureq:?}");
    ureq
}

/// The writing end of a pipe that nobody reads.
pub(crate) fn closed_pipe() -> PipeWriter {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer
}

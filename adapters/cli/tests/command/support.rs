//! Test registries, and helpers that run the command.

use std::fs;
use std::future::pending;
use std::io::{self, BufRead as _, BufReader, PipeWriter, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use oci_proto::server::{Memory, Server};
use oci_proto::{Descriptor, MediaType};
use oci_proto_layout::LayoutWriter;
use oci_proto_tokio::server::serve;
use tempfile::TempDir;
use tokio::runtime;

pub(crate) const ADAPTERS: [&str; 2] = ["tokio", "ureq"];

/// Serves the tree under `root` as `demo:latest` until the test ends.
pub(crate) fn registry(memory: &Memory, root: &Descriptor) -> SocketAddr {
    registry_that_serves(memory, root, memory.clone())
}

/// Serves the tree under `root`, but with the content of `blobs`, which may differ from that in `memory`.
pub(crate) fn registry_that_serves(memory: &Memory, root: &Descriptor, blobs: Memory) -> SocketAddr {
    let mut server = Server::new();
    server.add(&"demo".parse().unwrap(), "latest".parse().ok().as_ref(), root, memory).unwrap();
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || runtime.block_on(serve(listener, Arc::new(server), blobs, pending::<()>())));
    address
}

pub(crate) fn sample() -> SocketAddr {
    let (memory, root) = Memory::sample();
    registry(&memory, &root)
}

/// A server that answers each request with the bytes that `answer` returns for its path.
pub(crate) fn scripted(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    scripted_by_head(move |head| {
        answer(head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default())
    })
}

/// A server that answers each request with the bytes that `answer` returns for the lines of its head.
pub(crate) fn scripted_by_head(answer: impl Fn(&[String]) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
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

fn converse(stream: &TcpStream, answer: &dyn Fn(&[String]) -> Vec<u8>) {
    let head: Vec<String> =
        BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    // The client may close the connection early.
    let _ = (&*stream).write_all(&answer(&head));
    // A connection that is closed with unread data is reset, and the client may not see the response.
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let _ = io::copy(&mut &*stream, &mut io::sink());
}

/// A complete response. In response to HEAD, clients must ignore the body.
pub(crate) fn response(status: &str, media_type: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A response with additional lines in its head.
pub(crate) fn with_headers(mut response: Vec<u8>, lines: &[u8]) -> Vec<u8> {
    let at = response.windows(2).position(|pair| pair == b"\r\n").unwrap() + 2;
    response.splice(at..at, [lines, b"\r\n"].concat());
    response
}

/// The result of running the command.
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

    /// Asserts that the command failed with this status, and that stderr contains these texts.
    #[track_caller]
    pub(crate) fn failed(&self, status: i32, expected: &[&str]) {
        assert_eq!(self.status, status, "{self:?}");
        for words in expected {
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

/// The variables, besides the home directory, that lead to the logins of a user.
pub(crate) const LOGIN_VARIABLES: [&str; 4] =
    ["DOCKER_AUTH_CONFIG", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME"];

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ocip"));
    command.args(arguments).stdin(Stdio::null());
    for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "RUST_BACKTRACE"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.env_remove("CONTAINERS_REGISTRIES_CONF");
    // The tests must not use the logins of the user who runs them.
    for name in LOGIN_VARIABLES {
        command.env_remove(name);
    }
    command.env("HOME", "/dev/null").env("XDG_RUNTIME_DIR", "/dev/null");
    command
}

/// A directory with the sample in the layout `lay`, as `1.0`, and with the file `note.txt`.
pub(crate) fn home() -> (TempDir, Descriptor) {
    let home = tempfile::tempdir().unwrap();
    let (memory, root) = Memory::sample();
    let mut writer = LayoutWriter::open(home.path().join("lay")).unwrap();
    for (digest, content) in memory.contents() {
        let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), content.len() as u64);
        writer.put(&descriptor, content).unwrap();
    }
    writer.set_root(&root, Some(&"1.0".parse().unwrap())).unwrap();
    fs::write(home.path().join("note.txt"), "hello\n").unwrap();
    (home, root)
}

pub(crate) fn ocip(arguments: &[&str]) -> Ran {
    ran(&command(arguments).output().unwrap())
}

pub(crate) fn ran(output: &Output) -> Ran {
    Ran {
        status: output.status.code().expect("not killed by a signal"),
        stdout: output.stdout.clone(),
        stderr: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}

/// Runs the command with these bytes on stdin.
pub(crate) fn ocip_with(arguments: &[&str], stdin: &[u8]) -> Ran {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may stop reading early.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    ran(&child.wait_with_output().unwrap())
}

/// Runs the command on each adapter, and asserts that the results are identical.
#[track_caller]
pub(crate) fn on_both(arguments: &[&str]) -> Ran {
    let [tokio, ureq] = ADAPTERS.map(|adapter| ocip(&[&["--adapter", adapter], arguments].concat()));
    assert_eq!((&tokio.stdout, tokio.status), (&ureq.stdout, ureq.status), "{tokio:?} {ureq:?}");
    ureq
}

/// A running `ocip serve`, and its first lines: that with the address, and further ones.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) lines: Vec<String>,
}

impl Serving {
    pub(crate) fn start(arguments: &[&str], further: usize) -> Self {
        let mut child = command(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let lines = lines.take(further + 1).map(|line| line.trim().to_owned()).collect();
        Self { child, lines }
    }

    pub(crate) fn address(&self) -> &str {
        self.lines[0].split(' ').next().unwrap().strip_prefix("http://").unwrap()
    }

    /// Sends a signal; returns the exit status and stderr.
    pub(crate) fn interrupt(mut self, signal: &str) -> (Option<i32>, String) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let status = self.child.wait().unwrap().code();
        let stderr = io::read_to_string(self.child.stderr.take().unwrap()).unwrap();
        (status, stderr)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The write end of a pipe whose read end is closed.
pub(crate) fn closed_pipe() -> PipeWriter {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    writer
}

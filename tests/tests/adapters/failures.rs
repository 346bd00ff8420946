//! Failures between client and registry: both adapters, and `ocip` on each, report the same.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use oci_proto::{Config, Error, FaultKind, PlainHttp, Reference};
use oci_proto_tests::clients::{MAKERS, settings};
use oci_proto_tests::internet::Authority;
use oci_proto_tests::interop::ocip;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The idle timeout of clients.
pub(crate) const SHORT: Duration = Duration::from_millis(400);
/// The time limit for everything here.
const BOUND: Duration = Duration::from_secs(10);

/// A defective registry, and the error that it causes.
pub(crate) struct Failure {
    pub(crate) address: SocketAddr,
    /// Whether the client uses TLS.
    pub(crate) secure: bool,
    pub(crate) kind: Option<FaultKind>,
    /// Part of the error message.
    pub(crate) said: &'static str,
}

/// Asserts that both adapters, and `ocip` on each, report the failure in time, with the same message as far
/// as it is the core's, and with the same hint.
pub(crate) fn assert_reported(authority: &Authority, failure: &Failure) {
    let Failure { address, secure, kind, said } = failure;
    let reference: Reference = format!("{address}/demo").parse().unwrap();
    let url = format!("GET http{}://{address}/v2/demo/manifests/latest: ", if *secure { "s" } else { "" });
    let mut config = Config::default();
    config.plain_http = if *secure { PlainHttp::Never } else { PlainHttp::Loopback };
    config.limits.max_attempts = 1;
    let pem = authority.pem().as_bytes();
    let mut settings = settings().config(config).add_root_certificates_pem(pem).unwrap();
    if *kind == Some(FaultKind::Timeout) {
        settings = settings.idle_timeout(SHORT).connect_timeout(SHORT);
    }
    for (name, make) in MAKERS {
        let began = Instant::now();
        let error = make(&settings).manifest(&reference, None).unwrap_err();
        assert!(began.elapsed() < BOUND, "{name}: {:?}", began.elapsed());
        let case = format!("{name}: {error}");
        assert_eq!(error.fault().map(oci_proto::Fault::kind), *kind, "{case}");
        assert!(error.to_string().starts_with(&url), "{case}");
        assert!(error.to_string().contains(said), "{case}");
        assert!(!error.to_string().contains("client error"), "{case}");
    }
}

/// The same for `ocip`, which uses no TLS on loopback.
fn assert_ocip_reports(failure: &Failure) {
    let mut hints = Vec::new();
    for (adapter, _) in MAKERS {
        let began = Instant::now();
        let output = ocip()
            .args(["--adapter", adapter, "--timeout", "2", "--retries", "0", "manifest"])
            .arg(format!("{}/demo", failure.address))
            .output()
            .unwrap();
        assert!(began.elapsed() < BOUND, "{adapter}: {:?}", began.elapsed());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{adapter}: {stderr}");
        assert!(output.stdout.is_empty(), "{adapter}");
        let lines: Vec<&str> = stderr.lines().collect();
        assert!(lines[0].starts_with("error: "), "{adapter}: {stderr}");
        assert!(lines[0].contains(failure.said), "{adapter}: {stderr}");
        hints.push(lines.get(1).map(|line| (*line).to_owned()));
        assert_eq!(lines.len(), 1 + usize::from(hints[0].is_some()), "{adapter}: {stderr}");
    }
    assert_eq!(hints[0], hints[1]);
    assert!(failure.kind.is_none() || hints[0].is_some(), "no hint for {}", failure.said);
}

/// Listens on loopback, and passes each connection to `treat`.
pub(crate) fn serve(treat: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let treat = Arc::new(treat);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let treat = treat.clone();
            thread::spawn(move || treat(stream));
        }
    });
    address
}

/// Listens, receives the head of a request, and sends `begin` once and `and` the given number of times.
pub(crate) fn answer(begin: &'static [u8], and: &'static [u8], times: usize) -> SocketAddr {
    serve(move |mut stream| {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            line.clear();
        }
        stream.write_all(begin)?;
        (0..times).try_for_each(|_| stream.write_all(and))
    })
}

/// A TLS server.
pub(crate) fn secure(config: ServerConfig) -> SocketAddr {
    let config = Arc::new(config);
    serve(move |stream| {
        let mut stream = accept(&config, stream)?;
        let _ = stream.read(&mut [0; 1000])?;
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    })
}

/// Adds TLS to a connection.
pub(crate) fn accept(
    config: &Arc<ServerConfig>,
    stream: TcpStream,
) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
    let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

pub(crate) fn say_nothing(mut stream: TcpStream) -> io::Result<()> {
    io::copy(&mut stream, &mut io::sink()).map(|_| ())
}

#[test]
fn servers_that_are_not_registries() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let plain = |address, kind, said| Failure { address, secure: false, kind, said };
    let reset = Some(FaultKind::Reset);
    let authority = Authority::new();
    for failure in [
        plain(nobody, Some(FaultKind::Connect), "could not connect: "),
        plain(answer(b"220 mail.example ESMTP ready\r\n", b"", 0), reset, "the connection broke: "),
        plain(answer(b"", b"", 0), reset, "the connection broke: "),
        plain(secure(authority.issue("127.0.0.1", |_| {})), reset, "the connection broke: "),
        plain(
            answer(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>", b"", 0),
            None,
            "web page instead of a manifest",
        ),
    ] {
        assert_reported(&authority, &failure);
        assert_ocip_reports(&failure);
    }
}

#[test]
fn endless_and_interrupted_responses() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nx: ";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    const CUT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\n\
        Content-Length: 1000\r\n\r\n{";
    let chunk: &'static [u8] =
        Box::leak([&b"1000\r\n"[..], &[b' '; 4096], b"\r\n"].concat().into_boxed_slice());
    let reset = Some(FaultKind::Reset);
    let authority = Authority::new();
    for (address, kind, said) in [
        (answer(CHUNKED, chunk, usize::MAX), None, "the manifest exceeds the limit of 8388608 bytes"),
        (answer(OK, &[b'y'; 4096], usize::MAX), reset, "the connection broke: "),
        (answer(b"HTTP/1.1 200 OK\r\n", b"x: yyyyyyyyyyyy\r\n", 1 << 16), reset, "the connection broke: "),
        (answer(CHUNKED, b"zz\r\n", 1), reset, "the connection broke: "),
        (answer(CUT, b"", 0), reset, "the connection broke: "),
    ] {
        let failure = Failure { address, secure: false, kind, said };
        assert_reported(&authority, &failure);
        assert_ocip_reports(&failure);
    }
}

#[test]
fn silent_servers() {
    let authority = Authority::new();
    let timeout = Some(FaultKind::Timeout);
    let said = "timed out: no complete response head within 400ms";
    assert_reported(&authority, &Failure { address: serve(say_nothing), secure: false, kind: timeout, said });
    let said = "timed out: no connection within 400ms";
    assert_reported(&authority, &Failure { address: serve(say_nothing), secure: true, kind: timeout, said });
    let said = "deadline passed";
    assert_ocip_reports(&Failure { address: serve(say_nothing), secure: false, kind: timeout, said });
}

#[test]
fn untrusted_tls_servers() {
    let authority = Authority::new();
    let expired = authority.issue("127.0.0.1", |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let tls = Some(FaultKind::Tls);
    let hangs_up = |stream| say_nothing_but(b"", stream);
    let no_tls = |stream| say_nothing_but(b"HTTP/1.1 400 Bad Request\r\n\r\n", stream);
    for (address, kind, said) in [
        (
            secure(Authority::new().issue("127.0.0.1", |_| {})),
            tls,
            "the server's certificate is from an unknown authority",
        ),
        (secure(expired), tls, "it was valid until Tue, 01 Jan 2002 00:00:00 GMT"),
        (
            secure(authority.issue("other.example", |_| {})),
            tls,
            "is not valid for 127.0.0.1, only for other.example",
        ),
        (serve(no_tls), tls, "could not establish TLS: the server answers with something other than TLS"),
        (serve(hangs_up), Some(FaultKind::Reset), "the connection broke: tls handshake eof"),
        // The same server is accepted under its own name.
        (secure(authority.issue("127.0.0.1", |_| {})), None, "404 Not Found"),
    ] {
        assert_reported(&authority, &Failure { address, secure: true, kind, said });
    }
}

fn say_nothing_but(words: &[u8], mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(words)?;
    if words.is_empty() {
        // After the ClientHello.
        let _ = stream.read(&mut [0; 1000])?;
        return Ok(());
    }
    say_nothing(stream)
}

/// Without its authority's certificate, a server is not trusted.
#[test]
fn an_unknown_authority() {
    let address = secure(Authority::new().issue("127.0.0.1", |_| {}));
    let mut config = Config::default();
    config.plain_http = PlainHttp::Never;
    config.limits.max_attempts = 1;
    let settings = settings().config(config);
    for (name, make) in MAKERS {
        let reference: Reference = format!("{address}/demo").parse().unwrap();
        let error: Error = make(&settings).manifest(&reference, None).unwrap_err();
        assert!(
            error.to_string().contains("certificate is from an unknown authority, which"),
            "{name}: {error}"
        );
    }
}

//! What goes wrong between a client and a registry: both adapters, and `ocip` on each, say the same of it.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use oci_proto::{Config, Error, FaultKind, PlainHttp, Reference};
use oci_proto_tests::adapter::{MAKERS, Settings};
use oci_proto_tests::internet::Authority;
use oci_proto_tests::interop::ocip;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How long nothing may happen, where a test waits for that.
const SHORT: Duration = Duration::from_millis(400);
/// The most that anything may take here.
const BOUND: Duration = Duration::from_secs(10);

/// What is wrong with a registry, and what is said of it.
struct Trouble {
    address: SocketAddr,
    /// Whether TLS is spoken to it.
    secure: bool,
    kind: Option<FaultKind>,
    /// What both adapters say.
    said: &'static str,
}

/// Fails unless both adapters, and `ocip` on each, say what is wrong, in time, in the same words where they
/// are the core's, and with the same advice.
fn assert_told(authority: &Authority, trouble: &Trouble) {
    let Trouble { address, secure, kind, said } = trouble;
    let reference: Reference = format!("{address}/demo").parse().unwrap();
    let url = format!("GET http{}://{address}/v2/demo/manifests/latest: ", if *secure { "s" } else { "" });
    let mut settings = Settings::default();
    let mut config = Config::default();
    config.plain_http = if *secure { PlainHttp::Never } else { PlainHttp::Loopback };
    config.limits.max_attempts = 1;
    settings.config = Some(config);
    settings.roots = Some(authority.pem().to_owned());
    if *kind == Some(FaultKind::Timeout) {
        settings.idle_timeout = Some(SHORT);
        settings.connect_timeout = Some(SHORT);
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

/// The same for `ocip`, which speaks TLS to nobody on this machine.
fn assert_ocip_tells(trouble: &Trouble) {
    let mut hints = Vec::new();
    for (adapter, _) in MAKERS {
        let began = Instant::now();
        let output = ocip()
            .args(["--adapter", adapter, "--timeout", "2", "--retries", "0", "manifest"])
            .arg(format!("{}/demo", trouble.address))
            .output()
            .unwrap();
        assert!(began.elapsed() < BOUND, "{adapter}: {:?}", began.elapsed());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{adapter}: {stderr}");
        assert!(output.stdout.is_empty(), "{adapter}");
        let lines: Vec<&str> = stderr.lines().collect();
        assert!(lines[0].starts_with("error: "), "{adapter}: {stderr}");
        assert!(lines[0].contains(trouble.said), "{adapter}: {stderr}");
        hints.push(lines.get(1).map(|line| (*line).to_owned()));
        assert_eq!(lines.len(), 1 + usize::from(hints[0].is_some()), "{adapter}: {stderr}");
    }
    assert_eq!(hints[0], hints[1]);
    assert!(trouble.kind.is_none() || hints[0].is_some(), "no advice where {}", trouble.said);
}

/// Listens on loopback, and treats each connection as told.
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

/// Listens, and once the head of a request is there, answers with these bytes and then with these again and
/// again.
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

/// Speaks TLS.
pub(crate) fn secure(config: ServerConfig) -> SocketAddr {
    let config = Arc::new(config);
    serve(move |stream| {
        let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        let _ = stream.read(&mut [0; 1000])?;
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    })
}

fn say_nothing(mut stream: TcpStream) -> io::Result<()> {
    io::copy(&mut stream, &mut io::sink()).map(|_| ())
}

#[test]
fn what_is_no_registry() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let plain = |address, kind, said| Trouble { address, secure: false, kind, said };
    let reset = Some(FaultKind::Reset);
    let authority = Authority::new();
    for trouble in [
        plain(nobody, Some(FaultKind::Connect), "no connection: "),
        plain(answer(b"220 mail.example ESMTP ready\r\n", b"", 0), reset, "the connection broke: "),
        plain(answer(b"", b"", 0), reset, "the connection broke: "),
        plain(secure(authority.issue("127.0.0.1", |_| {})), reset, "the connection broke: "),
        plain(
            answer(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>", b"", 0),
            None,
            "web page instead of a manifest",
        ),
    ] {
        assert_told(&authority, &trouble);
        assert_ocip_tells(&trouble);
    }
}

#[test]
fn answers_without_end_and_answers_that_break_off() {
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
        (answer(CHUNKED, chunk, usize::MAX), None, "the manifest is larger than 8388608 bytes"),
        (answer(OK, &[b'y'; 4096], usize::MAX), reset, "the connection broke: "),
        (answer(b"HTTP/1.1 200 OK\r\n", b"x: yyyyyyyyyyyy\r\n", 1 << 16), reset, "the connection broke: "),
        (answer(CHUNKED, b"zz\r\n", 1), reset, "the connection broke: "),
        (answer(CUT, b"", 0), reset, "the connection broke: "),
    ] {
        let trouble = Trouble { address, secure: false, kind, said };
        assert_told(&authority, &trouble);
        assert_ocip_tells(&trouble);
    }
}

#[test]
fn servers_that_say_nothing() {
    let authority = Authority::new();
    let timeout = Some(FaultKind::Timeout);
    let said = "no answer in time: nothing moved for 400ms";
    assert_told(&authority, &Trouble { address: serve(say_nothing), secure: false, kind: timeout, said });
    let said = "no answer in time: no connection within 400ms";
    assert_told(&authority, &Trouble { address: serve(say_nothing), secure: true, kind: timeout, said });
    let said = "deadline passed";
    assert_ocip_tells(&Trouble { address: serve(say_nothing), secure: false, kind: timeout, said });
}

#[test]
fn tls_that_cannot_be_trusted() {
    let authority = Authority::new();
    let expired = authority.issue("127.0.0.1", |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let tls = Some(FaultKind::Tls);
    let hangs_up = |stream| say_nothing_but(b"", stream);
    let no_tls = |stream| say_nothing_but(b"HTTP/1.1 400 Bad Request\r\n\r\n", stream);
    for (address, kind, said) in [
        (secure(Authority::new().issue("127.0.0.1", |_| {})), tls, "invalid peer certificate: "),
        (secure(expired), tls, "certificate expired"),
        (secure(authority.issue("other.example", |_| {})), tls, "not valid for name \"127.0.0.1\""),
        (serve(no_tls), tls, "no secure connection: "),
        (serve(hangs_up), Some(FaultKind::Reset), "the connection broke: tls handshake eof"),
        // The others fail for what they are, not for anything else.
        (secure(authority.issue("127.0.0.1", |_| {})), None, "404 Not Found"),
    ] {
        assert_told(&authority, &Trouble { address, secure: true, kind, said });
    }
}

fn say_nothing_but(words: &[u8], mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(words)?;
    if words.is_empty() {
        // Once the client has said hello.
        let _ = stream.read(&mut [0; 1000])?;
        return Ok(());
    }
    say_nothing(stream)
}

/// Without the authority's certificate no certificate of its servers is worth anything.
#[test]
fn an_authority_that_nobody_knows() {
    let address = secure(Authority::new().issue("127.0.0.1", |_| {}));
    let mut settings = Settings::default();
    let mut config = Config::default();
    config.plain_http = PlainHttp::Never;
    config.limits.max_attempts = 1;
    settings.config = Some(config);
    for (name, make) in MAKERS {
        let reference: Reference = format!("{address}/demo").parse().unwrap();
        let error: Error = make(&settings).manifest(&reference, None).unwrap_err();
        assert!(error.to_string().contains("invalid peer certificate: UnknownIssuer"), "{name}: {error}");
    }
}

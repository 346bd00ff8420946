//! Responses that end with their connection. Under TLS, `close_notify` shows that the server has ended the
//! connection (RFC 9112, section 9.8); without TLS, anything but a reset counts as its end.

use std::fmt::Debug;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use oci_proto::{Algorithm, Config, Digest, Error, FaultKind, PlainHttp, Reference};
use oci_proto_common::Settings;
use oci_proto_tests::clients::{MAKERS, settings};
use oci_proto_tests::internet::Authority;
use rustls::ServerConfig;

use crate::failures::{accept, serve};

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\n\r\n";
const INDEX: &str = "{\"schemaVersion\":2,\"manifests\":[]}";

/// How the connection ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    CloseNotify,
    Close,
    Reset,
}

/// How the server is reached.
#[derive(Clone, Copy, Debug)]
enum Through {
    Nothing,
    Tunnel,
    Socks,
}

/// Reads to the end of a head.
fn read_head(stream: &mut impl Read) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    Ok(())
}

/// Acts as the proxy, and is the server itself from then on.
fn connect(through: Through, stream: &mut TcpStream) -> io::Result<()> {
    match through {
        Through::Nothing => Ok(()),
        Through::Tunnel => {
            read_head(stream)?;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")
        }
        Through::Socks => {
            let mut greeting = [0; 2];
            stream.read_exact(&mut greeting)?;
            stream.read_exact(&mut vec![0; greeting[1].into()])?;
            stream.write_all(&[5, 0])?;
            let mut request = [0; 5];
            stream.read_exact(&mut request)?;
            stream.read_exact(&mut vec![0; usize::from(request[4]) + 2])?;
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
        }
    }
}

/// Responds to each request with `response`, and ends the connection.
fn server(config: Option<ServerConfig>, through: Through, response: String, end: End) -> SocketAddr {
    let config = config.map(Arc::new);
    serve(move |mut stream| {
        connect(through, &mut stream)?;
        let socket = stream.try_clone()?;
        match &config {
            None => {
                read_head(&mut stream)?;
                stream.write_all(response.as_bytes())?;
            }
            Some(config) => {
                let mut stream = accept(config, stream)?;
                read_head(&mut stream)?;
                stream.write_all(response.as_bytes())?;
                if end == End::CloseNotify {
                    stream.conn.send_close_notify();
                }
                stream.flush()?;
            }
        }
        if end == End::Reset {
            // The client has read the response by then, most likely.
            thread::sleep(Duration::from_millis(100));
            socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
        }
        Ok(())
    })
}

/// Settings without retries, and the host that they reach the server by.
fn reach(authority: &Authority, through: Through, at: SocketAddr, secure: bool) -> (Settings, String) {
    let mut config = Config::default();
    config.plain_http = if secure { PlainHttp::Never } else { PlainHttp::Loopback };
    config.limits.max_attempts = 1;
    let settings = settings().config(config).add_root_certificates_pem(authority.pem().as_bytes()).unwrap();
    match through {
        Through::Nothing => (settings, at.to_string()),
        Through::Tunnel => (settings.proxy(Some(&format!("http://{at}"))).unwrap(), "a.test".to_owned()),
        Through::Socks => (settings.proxy(Some(&format!("socks5://{at}"))).unwrap(), "a.test".to_owned()),
    }
}

fn assert_broken<T: Debug>(outcome: Result<T, Error>, case: &str) {
    let error = outcome.expect_err(case);
    assert_eq!(error.fault().map(oci_proto::Fault::kind), Some(FaultKind::Reset), "{case}: {error}");
}

#[test]
fn a_body_over_tls_ends_with_close_notify() {
    let authority = Authority::new();
    let response = format!("{HEAD}{INDEX}");
    let digest = Digest::of(Algorithm::Sha256, INDEX.as_bytes());
    for through in [Through::Nothing, Through::Tunnel, Through::Socks] {
        let name = if matches!(through, Through::Nothing) { "127.0.0.1" } else { "a.test" };
        for end in [End::CloseNotify, End::Close, End::Reset] {
            let at = server(Some(authority.issue(name, |_| {})), through, response.clone(), end);
            let (settings, host) = reach(&authority, through, at, true);
            let tag: Reference = format!("{host}/demo").parse().unwrap();
            let blob: Reference = format!("{host}/demo@{digest}").parse().unwrap();
            for (adapter, make) in MAKERS {
                let case = format!("{adapter}, {through:?}, {end:?}");
                let client = make(&settings);
                let (manifest, blob) = (client.manifest(&tag, None), client.blob(&blob, None));
                if end == End::CloseNotify {
                    assert_eq!(manifest.expect(&case).0.digest, digest, "{case}");
                    assert_eq!(blob.expect(&case), INDEX.as_bytes(), "{case}");
                } else {
                    assert_broken(manifest, &case);
                    assert_broken(blob, &case);
                }
            }
        }
    }
}

/// Without TLS, only a reset shows that the body is incomplete. A size or a digest shows the rest.
#[test]
fn a_body_without_tls_ends_with_the_connection_unless_it_is_reset() {
    let authority = Authority::new();
    let digest = Digest::of(Algorithm::Sha256, INDEX.as_bytes());
    let served = |sent: &str, end| {
        let at = server(None, Through::Nothing, format!("{HEAD}{sent}"), end);
        reach(&authority, Through::Nothing, at, false)
    };
    for (adapter, make) in MAKERS {
        let (settings, host) = served(INDEX, End::Close);
        let whole = make(&settings).manifest(&format!("{host}/demo").parse().unwrap(), None).unwrap();
        assert_eq!(whole.0.digest, digest, "{adapter}");

        let (settings, host) = served(INDEX, End::Reset);
        assert_broken(make(&settings).manifest(&format!("{host}/demo").parse().unwrap(), None), adapter);

        let (settings, host) = served(&INDEX[1..], End::Close);
        let named = format!("{host}/demo@{digest}").parse().unwrap();
        let error = make(&settings).manifest(&named, None).unwrap_err();
        assert!(error.to_string().contains("digest mismatch"), "{adapter}: {error}");
        let error = make(&settings).blob(&named, None).unwrap_err();
        assert!(error.to_string().contains("digest mismatch"), "{adapter}: {error}");
    }
}

#[test]
fn a_head_that_is_cut_short_is_a_broken_connection() {
    let authority = Authority::new();
    let heads =
        ["HTTP/1.1 200 OK\r\nContent-Le", &HEAD[..HEAD.len() - 2], "HTTP/1.1 302 Found\r\nLocation: /\r\n"];
    for head in heads {
        for (secure, end) in [
            (true, End::CloseNotify),
            (true, End::Close),
            (true, End::Reset),
            (false, End::Close),
            (false, End::Reset),
        ] {
            let config = secure.then(|| authority.issue("127.0.0.1", |_| {}));
            let at = server(config, Through::Nothing, head.to_owned(), end);
            let (settings, host) = reach(&authority, Through::Nothing, at, secure);
            for (adapter, make) in MAKERS {
                let manifest = make(&settings).manifest(&format!("{host}/demo").parse().unwrap(), None);
                assert_broken(manifest, &format!("{adapter}, {head:?}, {secure}, {end:?}"));
            }
        }
    }
}

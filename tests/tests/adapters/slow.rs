//! Servers that send a few bytes from time to time, and never end. Each part of a response except the data of
//! its body has the same time limit on both adapters.

use std::io::{self, Read as _, Write};
use std::net::SocketAddr;
use std::thread;

use oci_proto::{Config, FaultKind, PlainHttp, Reference};
use oci_proto_tests::clients::{MAKERS, settings};
use oci_proto_tests::internet::Authority;

use crate::failures::{Failure, SHORT, assert_reported, serve};

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\n\
    Transfer-Encoding: chunked\r\n\r\n";

/// Sends `begin` once it has received something, and then `drop` from time to time.
fn drip(begin: &'static [u8], drop: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| {
        let _ = stream.read(&mut [0; 1000])?;
        stream.write_all(begin)?;
        drops(&mut stream, drop)
    })
}

fn drops(stream: &mut impl Write, drop: &[u8]) -> io::Result<()> {
    loop {
        thread::sleep(SHORT / 8);
        stream.write_all(drop)?;
    }
}

fn chunked(then: &str) -> &'static [u8] {
    Box::leak([CHUNKED, then.as_bytes()].concat().into_boxed_slice())
}

#[test]
fn a_response_head_without_end() {
    let authority = Authority::new();
    let said = "timed out: no complete response head within 400ms";
    for (begin, drop) in [
        (&b"HTTP/1.1 200 "[..], &b"H"[..]),
        (b"HTTP/1.1 200 OK\r\nx: ", b"y"),
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    ] {
        let address = drip(begin, drop);
        assert_reported(
            &authority,
            &Failure { address, secure: false, kind: Some(FaultKind::Timeout), said },
        );
    }
}

#[test]
fn a_body_without_data_or_end() {
    let authority = Authority::new();
    let said = "timed out: no data or end of the response body within 400ms";
    for (begin, drop) in [
        (chunked(""), &b""[..]),
        (chunked("1\r\n{\r\n"), b""),
        (chunked("1\r\n{\r\n0"), b"0"),
        (chunked("1\r\n{\r\n1;"), b"x"),
        (chunked("1\r\n{\r\n0\r\n"), b"x: y\r\n"),
        (chunked("1\r\n{\r\n0\r\nx: "), b"y"),
    ] {
        let address = drip(begin, drop);
        assert_reported(
            &authority,
            &Failure { address, secure: false, kind: Some(FaultKind::Timeout), said },
        );
    }
}

/// A body that goes on is not cut off, however slow it is.
#[test]
fn a_body_with_data_from_time_to_time() {
    const INDEX: &[u8] = b"{\"schemaVersion\":2,\"manifests\":[]}";
    let address = serve(|mut stream| {
        let _ = stream.read(&mut [0; 1000])?;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", INDEX.len());
        stream.write_all(head.as_bytes())?;
        INDEX.iter().try_for_each(|byte| {
            thread::sleep(SHORT / 8);
            stream.write_all(&[*byte])
        })
    });
    let mut config = Config::default();
    config.limits.max_attempts = 1;
    for (adapter, make) in MAKERS {
        let client = make(&settings().config(config.clone()).idle_timeout(SHORT));
        let reference: Reference = format!("{address}/demo").parse().unwrap();
        let read = client.manifest(&reference, None);
        assert_eq!(read.expect(adapter).0.size, INDEX.len() as u64, "{adapter}");
    }
}

#[test]
fn a_connection_that_is_never_established() {
    let authority = Authority::new();
    let said = "timed out: no connection within 400ms";
    // A record of a TLS handshake.
    let address = drip(b"\x16\x03\x03\x30\x00\x02", b"\0");
    assert_reported(&authority, &Failure { address, secure: true, kind: Some(FaultKind::Timeout), said });

    let mut config = Config::default();
    config.plain_http = PlainHttp::Never;
    config.limits.max_attempts = 1;
    for (scheme, begin, drop) in [
        ("http", &b"HTTP/1.1 200 OK\r\nx: "[..], &b"y"[..]),
        ("http", b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
        ("http", b"", b""),
        ("https", b"\x16\x03\x03\x30\x00\x02", b"\0"),
        ("socks5", b"", b""),
    ] {
        let proxy = format!("{scheme}://{}", drip(begin, drop));
        let settings = settings().config(config.clone()).proxy(Some(&proxy)).unwrap();
        // The idle timeout does not apply to connecting.
        let settings = settings.connect_timeout(SHORT).idle_timeout(SHORT * 100);
        for (adapter, make) in MAKERS {
            let error = make(&settings).manifest(&"a.test/demo".parse().unwrap(), None).unwrap_err();
            let case = format!("{adapter}, {proxy}, {begin:?}: {error}");
            assert_eq!(error.fault().map(oci_proto::Fault::kind), Some(FaultKind::Timeout), "{case}");
            assert!(error.to_string().contains(said), "{case}");
        }
    }
}

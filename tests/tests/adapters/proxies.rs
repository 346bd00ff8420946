//! Proxies: what they receive from both adapters, and the hosts that are reached without them.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use oci_proto::{Config, FaultKind, PlainHttp, Reference};
use oci_proto_common::Proxies;
use oci_proto_tests::clients::{MAKERS, settings};
use oci_proto_tests::internet::Authority;
use rustls::ServerConfig;

use crate::environment::listen;
use crate::failures::{accept, serve};

#[test]
fn the_entries_of_no_proxy_mean_the_same_to_both_adapters() {
    let (tell, told) = mpsc::channel();
    let proxy = format!("http://{}", listen("proxy", "502 Bad Gateway", tell.clone()));
    // The address reaches this machine, but is not a loopback address. Names under `invalid` do not exist.
    let port = listen("registry", "404 Not Found", tell).port();
    let address = format!("0.0.0.0:{port}");
    let (other_port, mapped) = ("a.invalid:5000".to_owned(), format!("[::ffff:0.0.0.0]:{port}"));
    let name = "a.invalid".to_owned();
    let below = "x.y.a.invalid".to_owned();
    let beside = "ba.invalid".to_owned();
    let ipv6 = "[fd12::1]:5000".to_owned();
    let with_port = address.clone();
    let rows: [(&str, &[(&String, bool)]); 18] = [
        ("", &[(&address, false), (&name, false), (&ipv6, false)]),
        ("*", &[(&address, true), (&name, true), (&ipv6, true)]),
        ("*:5000", &[(&other_port, true), (&ipv6, true), (&name, false)]),
        ("a.invalid", &[(&name, true), (&below, true), (&other_port, true), (&beside, false)]),
        (".a.invalid", &[(&name, true), (&below, true), (&beside, false)]),
        ("*.a.invalid", &[(&name, true), (&below, true), (&beside, false)]),
        ("A.Invalid.", &[(&name, true), (&below, true), (&beside, false)]),
        ("a.invalid:5000", &[(&other_port, true), (&name, false)]),
        ("0.0.0.0", &[(&address, true), (&mapped, true), (&name, false)]),
        (&with_port, &[(&address, true), (&name, false)]),
        ("0.0.0.0:1", &[(&address, false)]),
        ("0.0.0.0/8", &[(&address, true), (&mapped, true), (&ipv6, false)]),
        ("fd12::1", &[(&ipv6, true), (&address, false)]),
        ("[fd12::1]", &[(&ipv6, true), (&address, false)]),
        ("[fd12::1]:5000", &[(&ipv6, true), (&address, false)]),
        ("fd12::/16", &[(&ipv6, true), (&address, false)]),
        ("b.invalid, 0.0.0.0", &[(&address, true), (&name, false)]),
        ("b.invalid a.invalid", &[(&name, true), (&beside, false)]),
    ];
    for (no_proxy, registries) in rows {
        for (registry, is_direct) in registries {
            let variables = [("ALL_PROXY", &*proxy), ("NO_PROXY", no_proxy)];
            let value =
                |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into());
            let (proxies, notice) = Proxies::from_vars(value).unwrap();
            assert_eq!(notice, None, "{no_proxy}");
            let mut config = Config::default();
            config.plain_http = PlainHttp::Always;
            config.limits.max_attempts = 1;
            let settings = settings().config(config).proxies(proxies).timeout(Duration::from_secs(10));
            let reference: Reference = format!("{registry}/demo").parse().unwrap();
            let found = MAKERS.map(|(name, make)| {
                make(&settings).resolve(&reference, None).expect_err(name);
                let heard: Vec<String> = told.try_iter().collect();
                if heard.iter().any(|heard| heard.starts_with("proxy")) { "proxy" } else { "direct" }
            });
            let expected = if *is_direct { "direct" } else { "proxy" };
            assert_eq!(found, [expected; 2], "{no_proxy}, {registry}");
        }
    }
}

/// Receives requests as a proxy and as the registry behind it. Tells what it has received.
struct Recorder {
    /// TLS of the proxy, and of the registry.
    proxy: Option<Arc<ServerConfig>>,
    registry: Arc<ServerConfig>,
    tell: Sender<String>,
}

trait Connection: Read + Write {}
impl<T: Read + Write> Connection for T {}

impl Recorder {
    fn treat(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut first = [0];
        if self.proxy.is_none() {
            stream.peek(&mut first)?;
        }
        let mut stream: Box<dyn Connection> = match &self.proxy {
            Some(tls) => Box::new(accept(tls, stream)?),
            None => Box::new(stream),
        };
        if first == [5] {
            let (login, target) = socks(&mut *stream)?;
            self.tell(format!("SOCKS {target}{login}"));
            if target.ends_with(":443") {
                let connection = rustls::ServerConnection::new(self.registry.clone()).unwrap();
                return self.requests(&mut rustls::StreamOwned::new(connection, stream));
            }
        }
        self.requests(&mut *stream)
    }

    /// Answers requests on one connection, until it is closed.
    fn requests(&self, mut stream: &mut dyn Connection) -> std::io::Result<()> {
        loop {
            let head = head(&mut stream)?;
            if head.is_empty() {
                return Ok(());
            }
            let line = head[0].trim_end_matches(" HTTP/1.1").to_owned();
            let shown = ["host: ", "proxy-authorization: "].map(|name| {
                let found = head.iter().find(|line| line.to_ascii_lowercase().starts_with(name));
                found.and_then(|line| line.get(name.len()..)).unwrap_or("-").to_owned()
            });
            self.tell(format!("{line}, {}, {}", shown[0], shown[1]));
            if line.starts_with("CONNECT ") {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
                let connection = rustls::ServerConnection::new(self.registry.clone()).unwrap();
                return self.requests(&mut rustls::StreamOwned::new(connection, stream));
            }
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
        }
    }

    fn tell(&self, heard: String) {
        let _ = self.tell.send(heard);
    }
}

fn head(stream: &mut impl Read) -> std::io::Result<Vec<String>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(Vec::new());
        }
        head.push(byte[0]);
    }
    BufReader::new(&head[..head.len() - 2]).lines().collect()
}

/// Plays a SOCKS 5 proxy (RFC 1928, RFC 1929) up to its success. Returns the login and the target.
fn socks(stream: &mut (impl Read + Write + ?Sized)) -> std::io::Result<(String, String)> {
    let take = |stream: &mut (dyn Connection + '_), length: u8| {
        let mut bytes = vec![0; usize::from(length)];
        stream.read_exact(&mut bytes).map(|()| bytes)
    };
    let stream: &mut dyn Connection = &mut { stream };
    let methods = take(stream, 2)?[1];
    let methods = take(stream, methods)?;
    let mut login = String::new();
    if methods.contains(&2) {
        stream.write_all(&[5, 2])?;
        let mut parts = Vec::new();
        take(stream, 1)?;
        for _ in 0..2 {
            let length = take(stream, 1)?[0];
            parts.push(String::from_utf8(take(stream, length)?).unwrap());
        }
        login = format!(", {}", parts.join(":"));
        stream.write_all(&[1, 0])?;
    } else {
        stream.write_all(&[5, 0])?;
    }
    let request = take(stream, 5)?;
    assert_eq!(request[..4], [5, 1, 0, 3], "the proxy is asked for a name");
    let host = String::from_utf8(take(stream, request[4])?).unwrap();
    let port = take(stream, 2)?;
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    Ok((login, format!("{host}:{}", u16::from_be_bytes([port[0], port[1]]))))
}

#[test]
fn a_proxy_receives_the_same_from_both_adapters() {
    let authority = Authority::new();
    let registry = authority.host("registry.invalid");
    let (tell, told) = mpsc::channel();
    let start = |proxy: Option<Arc<ServerConfig>>| {
        let recorder = Recorder { proxy, registry: registry.clone(), tell: tell.clone() };
        serve(move |stream| recorder.treat(stream))
    };
    let (plain, secure) = (start(None), start(Some(authority.host("127.0.0.1"))));
    let path = "/v2/demo/manifests/latest";
    // "us er" and "p@ss:word", in base64.
    let login = "Basic dXMgZXI6cEBzczp3b3Jk";
    let absolute = |login: &str| {
        ["HEAD", "GET"]
            .map(|method| format!("{method} http://registry.invalid{path}, registry.invalid, {login}"))
    };
    let origin = ["HEAD", "GET"].map(|method| format!("{method} {path}, registry.invalid, -"));
    let after = |first: String| [&[first][..], &origin].concat();
    let tunnel = |login: &str| after(format!("CONNECT registry.invalid:443, registry.invalid:443, {login}"));
    let rows = [
        (format!("http://{plain}"), PlainHttp::Always, absolute("-").to_vec()),
        (plain.to_string(), PlainHttp::Always, absolute("-").to_vec()),
        (format!("http://us%20er:p%40ss:word@{plain}"), PlainHttp::Always, absolute(login).to_vec()),
        (format!("https://{secure}"), PlainHttp::Always, absolute("-").to_vec()),
        (format!("http://{plain}"), PlainHttp::Never, tunnel("-")),
        (format!("http://us%20er:p%40ss:word@{plain}/"), PlainHttp::Never, tunnel(login)),
        (format!("https://us%20er:p%40ss:word@{secure}"), PlainHttp::Never, tunnel(login)),
        (format!("socks5://{plain}"), PlainHttp::Always, after("SOCKS registry.invalid:80".to_owned())),
        (format!("socks5h://{plain}"), PlainHttp::Never, after("SOCKS registry.invalid:443".to_owned())),
        (
            format!("socks5://us%20er:p%40ss:word@{plain}"),
            PlainHttp::Never,
            after("SOCKS registry.invalid:443, us er:p@ss:word".to_owned()),
        ),
    ];
    let reference: Reference = "registry.invalid/demo".parse().unwrap();
    for (url, plain_http, expected) in rows {
        let mut config = Config::default();
        config.plain_http = plain_http;
        let settings = settings().config(config).proxy(Some(&url)).unwrap();
        let settings = settings.add_root_certificates_pem(authority.pem().as_bytes()).unwrap();
        let found = MAKERS.map(|(name, make)| {
            let client = make(&settings);
            for error in [
                client.resolve(&reference, None).unwrap_err(),
                client.manifest(&reference, None).unwrap_err(),
            ] {
                assert_eq!(error.status().map(|status| status.as_u16()), Some(404), "{name}, {url}: {error}");
            }
            told.try_iter().collect::<Vec<_>>()
        });
        for found in &found {
            // All requests on one connection.
            let (first, rest) = found.split_at(expected.len());
            assert_eq!(first, expected, "{url}");
            assert_eq!(rest, &expected[expected.len() - 1..], "{url}");
        }
    }
}

#[test]
fn a_proxy_that_requires_a_login_is_named_and_not_asked_again() {
    let (tell, told) = mpsc::channel();
    let proxy = listen("proxy", "407 Proxy Authentication Required", tell);
    let reference: Reference = "registry.invalid/demo".parse().unwrap();
    for (login, why) in [("", "requires a login"), ("user:hunter2@", "refused the login in its URL")] {
        for plain_http in [PlainHttp::Always, PlainHttp::Never] {
            let mut config = Config::default();
            config.plain_http = plain_http;
            let settings = settings().config(config).proxy(Some(&format!("http://{login}{proxy}"))).unwrap();
            for (name, make) in MAKERS {
                let error = make(&settings).manifest(&reference, None).unwrap_err();
                assert_eq!(
                    error.fault().map(oci_proto::Fault::kind),
                    Some(FaultKind::Proxy),
                    "{name}: {error}"
                );
                let said = format!(
                    ": the proxy refused the request: {proxy} {why} (407 Proxy Authentication Required)"
                );
                assert!(error.to_string().ends_with(&said), "{name}: {error}");
                assert_eq!(told.try_iter().count(), 1, "{name}");
            }
        }
    }
}

//! The hints of `ocip` about errors, on both adapters.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use oci_proto_tests::clients::MAKERS;
use oci_proto_tests::internet::Authority;
use oci_proto_tests::interop::ocip;

use crate::failures::{answer, secure, serve};

/// A server in plain text that always sends the same response.
fn plain(head: &'static str) -> SocketAddr {
    answer(head.as_bytes(), b"\r\n", 1)
}

/// A server that refuses TLS with an alert.
fn refuse(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

fn hang_up(mut stream: TcpStream) -> io::Result<()> {
    stream.read(&mut [0; 1000]).map(drop)
}

#[test]
fn each_error_has_a_useful_hint() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    fs::write(&file, authority.pem()).unwrap();
    let trusting = ["--ca-file", file.to_str().unwrap()];
    let expired = authority.issue("127.0.0.1", |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let unborn = authority.issue("127.0.0.1", |params| {
        params.not_before = rcgen::date_time_ymd(3001, 1, 1);
        params.not_after = rcgen::date_time_ymd(3002, 1, 1);
    });
    let good = secure(authority.issue("127.0.0.1", |_| {}));
    let none: &[&str] = &[];
    for (address, arguments, hint) in [
        (good, &trusting[..], "check the repository"),
        (good, none, "may require TLS (omit --plain-http; for a loopback host, use --ca-file FILE)"),
        (secure(authority.issue("other.example", |_| {})), &trusting, "host name from the certificate"),
        (secure(Authority::new().issue("127.0.0.1", |_| {})), &trusting, "use --ca-file FILE to trust"),
        (secure(expired), &trusting, "check the clock"),
        (secure(unborn), &trusting, "check the clock"),
        (serve(refuse), &trusting, "does not speak TLS; use --plain-http"),
        (serve(hang_up), &trusting, "may not speak TLS (use --plain-http"),
        (plain("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n"), none, "may require TLS"),
        (
            plain("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3700\r\nContent-Length: 0\r\n"),
            none,
            "retry after 62 min, or log in",
        ),
        (
            plain("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n"),
            none,
            "log in with `ocip login`, `docker login` or `podman login`, or use --username NAME with --password-stdin",
        ),
    ] {
        for (adapter, _) in MAKERS {
            let name = format!("{address}/demo");
            let output = ocip()
                .args(["--adapter", adapter, "--retries", "0", "--timeout", "10", "manifest"])
                .args(["--auth-file", "/dev/null"])
                .args(arguments)
                .arg(name)
                .output()
                .unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{adapter}: {said}");
            let last = said.lines().last().unwrap_or_default();
            assert!(last.starts_with("hint: ") && last.contains(hint), "{adapter}, not {hint:?}: {said}");
        }
    }
}

#[test]
fn a_failing_proxy_is_named_without_its_password() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    let closed = plain("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n");
    for (proxy, arguments, hint) in [
        (nobody, &["--timeout", "10"][..], "NO_PROXY=HOST"),
        (nobody, &["--plain-http"], "NO_PROXY=HOST"),
        (closed, &["--timeout", "10"], "add the login of the proxy to its URL, or correct it"),
        (closed, &["--plain-http"], "add the login of the proxy to its URL, or correct it"),
    ] {
        for (adapter, _) in MAKERS {
            let mut command = ocip();
            for name in ["HTTP_PROXY", "HTTPS_PROXY"] {
                command.env_remove(name.to_lowercase()).env(name, format!("http://user:hunter2@{proxy}"));
            }
            for name in ["NO_PROXY", "no_proxy", "REQUEST_METHOD"] {
                command.env_remove(name);
            }
            let output = command
                .args(["--adapter", adapter, "--retries", "0", "manifest", "registry.invalid/demo"])
                .args(arguments)
                .output()
                .unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{adapter}: {said}");
            assert!(said.lines().last().is_some_and(|last| last.contains(hint)), "{adapter}: {said}");
            let refused =
                format!("the proxy refused the request: {proxy} refused the login in its URL (407 ");
            let is_named = said.contains(&format!("could not connect: through the proxy {proxy}: "));
            assert!(is_named || said.contains(&refused), "{adapter}: {said}");
            assert!(!said.contains("hunter2"), "{adapter}: {said}");
        }
    }
}

/// The registry is behind a proxy, so that it has a public name.
#[test]
fn an_address_that_is_refused_has_a_hint() {
    let redirect = plain(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://10.0.0.1/x\r\nConnection: close\r\nContent-Length: 0\r\n",
    );
    let challenge = plain(
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://auth.invalid/t\"\r\nConnection: close\r\nContent-Length: 0\r\n",
    );
    let refused = "the redirect leads to 10.0.0.1, which only a private registry may name";
    let other = "is not among the permitted token servers";
    for (proxy, arguments, expected) in [
        (redirect, &[][..], &[refused, "hint: if you trust the registry, use --allow-private-addresses"][..]),
        (redirect, &["--allow-private-addresses"], &["redirected more than 10 times"]),
        (challenge, &["--token-server", "auth.example"], &[other]),
        (
            challenge,
            &["--token-server", "auth.invalid", "--token-server", "a.example:1"],
            &["token server answered 401"],
        ),
    ] {
        for (adapter, _) in MAKERS {
            let mut command = ocip();
            for name in ["http_proxy", "HTTP_PROXY"] {
                command.env(name, format!("http://{proxy}"));
            }
            for name in ["NO_PROXY", "no_proxy", "REQUEST_METHOD"] {
                command.env_remove(name);
            }
            let output = command
                .args([
                    "--adapter",
                    adapter,
                    "--retries",
                    "0",
                    "--plain-http",
                    "manifest",
                    "registry.invalid/demo",
                ])
                .args(["--auth-file", "/dev/null"])
                .args(arguments)
                .output()
                .unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{adapter}: {said}");
            assert!(expected.iter().all(|text| said.contains(text)), "{adapter}, not {expected:?}: {said}");
        }
    }
}

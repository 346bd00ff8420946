//! Effects of the environment: proxies, and the system's root certificates. A process has one environment, so
//! the tests run `ocip` in another.
//!
//! The address 0.0.0.0 reaches this machine but is not a loopback address, so neither plain HTTP nor direct
//! connections are implied.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Output;
use std::sync::mpsc;
use std::thread;

use crate::failures::secure;
use oci_proto_tests::clients::MAKERS;
use oci_proto_tests::internet::Authority;
use oci_proto_tests::interop::ocip;

type Variables<'a> = &'a [(&'a str, &'a str)];

/// Runs `ocip` with only these variables, apart from ones that do not matter.
fn run(adapter: &str, variables: Variables<'_>, arguments: &[&str]) -> Output {
    let mut command = ocip();
    for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "REQUEST_METHOD"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).args(["--adapter", adapter, "--timeout", "10", "--retries", "0"]);
    command.args(arguments).output().unwrap()
}

/// Listens on loopback. Sends `who` and the first line of each request to `tell`, and responds with `status`.
pub(crate) fn listen(who: &'static str, status: &'static str, tell: mpsc::Sender<String>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            let _ = lines.find(String::is_empty);
            let _ = tell.send(format!("{who}: {first}"));
            let _ = (&stream).write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes());
        }
    });
    address
}

#[test]
fn proxies_are_used_except_for_loopback_and_excluded_hosts() {
    let (tell, told) = mpsc::channel();
    let proxy = format!("http://{}", listen("proxy", "502 Bad Gateway", tell.clone()));
    let port = listen("registry", "404 Not Found", tell).port();
    let (near, far) = (format!("127.0.0.1:{port}/demo"), format!("0.0.0.0:{port}/demo"));
    let (plain, secure) = (["resolve", "--plain-http", &far], ["resolve", "registry.invalid/demo"]);
    let local = ["resolve", &near];
    let with_port = format!("0.0.0.0:{port}");
    let cases: [(Variables, &[&str], &str); 12] = [
        (&[("HTTP_PROXY", &proxy)], &plain, "proxy"),
        (&[("http_proxy", &proxy), ("HTTPS_PROXY", "http://127.0.0.1:1")], &plain, "proxy"),
        (&[("HTTPS_PROXY", &proxy)], &plain, "registry"),
        (&[("https_proxy", &proxy), ("HTTP_PROXY", "http://127.0.0.1:1")], &secure, "proxy"),
        (&[("ALL_PROXY", &proxy)], &plain, "proxy"),
        (&[("ALL_PROXY", &proxy)], &secure, "proxy"),
        (&[("ALL_PROXY", &proxy)], &local, "registry"),
        (&[("ALL_PROXY", &proxy), ("NO_PROXY", "a.example, 0.0.0.0")], &plain, "registry"),
        (&[("ALL_PROXY", &proxy), ("no_proxy", "0.0.0.0/8")], &plain, "registry"),
        (&[("ALL_PROXY", &proxy), ("no_proxy", "*")], &plain, "registry"),
        (&[("ALL_PROXY", &proxy), ("NO_PROXY", &with_port)], &plain, "registry"),
        (&[("ALL_PROXY", &proxy), ("NO_PROXY", "0.0.0.0:1")], &plain, "proxy"),
    ];
    for (variables, arguments, who) in cases {
        for (adapter, _) in MAKERS {
            let output = run(adapter, variables, arguments);
            let stderr = String::from_utf8(output.stderr).unwrap();
            let case = format!("{adapter}, {variables:?}, {arguments:?}: {stderr}");
            assert_eq!(output.status.code(), Some(1), "{case}");
            let heard: Vec<String> = told.try_iter().collect();
            assert!(!heard.is_empty() && heard.iter().all(|line| line.starts_with(who)), "{case} {heard:?}");
            if who == "proxy" && arguments == secure {
                assert_eq!(heard[0], "proxy: CONNECT registry.invalid:443 HTTP/1.1", "{case}");
                let said =
                    format!("could not connect: through the {}: ", proxy.replacen("http://", "proxy ", 1));
                assert!(stderr.contains(&said) && stderr.contains("hint: check HTTPS_PROXY, "), "{case}");
            }
        }
    }
}

#[test]
fn the_invalid_entries_of_no_proxy_are_named_once_and_the_others_count() {
    let (tell, told) = mpsc::channel();
    let proxy = format!("http://{}", listen("proxy", "502 Bad Gateway", tell.clone()));
    let far = format!("0.0.0.0:{}/demo", listen("registry", "404 Not Found", tell).port());
    let arguments = ["resolve", "--plain-http", &far];
    let no_proxy = "127.*,0.0.0.0,127.*,me:hunter2@a b/8";
    let said = "warning: no_proxy has entries that are ignored: \"127.*\", \"a\", \"b/8\"; an entry is ";
    for (adapter, _) in MAKERS {
        let variables = [("HTTP_PROXY", &*proxy), ("no_proxy", no_proxy)];
        let stderr = String::from_utf8(run(adapter, &variables, &arguments).stderr).unwrap();
        assert!(stderr.starts_with(said), "{adapter}: {stderr}");
        assert_eq!(stderr.matches("warning: ").count(), 1, "{adapter}: {stderr}");
        assert!(!stderr.contains("hunter2"), "{adapter}: {stderr}");
        let quiet = run(adapter, &variables, &["resolve", "--quiet", "--plain-http", &far]);
        let without_proxy = run(adapter, &[("NO_PROXY", no_proxy)], &arguments);
        for output in [quiet, without_proxy] {
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(!stderr.contains("warning: "), "{adapter}: {stderr}");
        }
        assert!(told.try_iter().all(|line| line.starts_with("registry")), "{adapter}");
    }
}

#[test]
fn an_invalid_proxy_is_an_error_and_not_bypassed() {
    let (tell, told) = mpsc::channel();
    let port = listen("registry", "404 Not Found", tell).port();
    let far = format!("0.0.0.0:{port}/demo");
    for (name, value) in [
        ("HTTPS_PROXY", "ftp://me:hunter2@a:1"),
        ("http_proxy", "http://"),
        ("ALL_PROXY", "http://me:hunter2@a b"),
        ("all_proxy", "http://a:port"),
    ] {
        for (adapter, _) in MAKERS {
            let output = run(adapter, &[(name, value)], &["resolve", "--plain-http", &far]);
            let stderr = String::from_utf8(output.stderr).unwrap();
            let said = format!("error: the variable {name} is not a URL with a host");
            assert_eq!(output.status.code(), Some(1), "{adapter}, {value}: {stderr}");
            assert!(stderr.starts_with(&said) && !stderr.contains("hunter2"), "{adapter}, {value}: {stderr}");
        }
    }
    assert_eq!(told.try_iter().count(), 0);
}

#[test]
fn system_certificates_and_added_ones_are_trusted() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    fs::write(&file, authority.pem()).unwrap();
    let (other, empty) = (folder.path().join("other.pem"), folder.path().join("empty"));
    fs::write(&other, Authority::new().pem()).unwrap();
    fs::create_dir(&empty).unwrap();
    let [file, other, empty] = [&file, &other, &empty].map(|path| path.to_str().unwrap());
    let name = format!("0.0.0.0:{}/demo", secure(authority.issue("0.0.0.0", |_| {})).port());
    let nothing = [("SSL_CERT_DIR", empty)];
    let cases: [(Variables, &[&str], &[&str]); 4] = [
        (&[("SSL_CERT_FILE", file)], &["resolve", &name], &["404 Not Found"]),
        (&nothing, &["resolve", "--ca-file", file, &name], &["404 Not Found"]),
        (
            &nothing,
            &["resolve", &name],
            &["no root certificates: install them, set SSL_CERT_FILE", "--ca-file FILE"],
        ),
        (
            &[("SSL_CERT_FILE", other)],
            &["resolve", &name],
            &[
                "could not establish TLS: the server's certificate is from an unknown authority",
                "--ca-file FILE",
            ],
        ),
    ];
    for (variables, arguments, said) in cases {
        for (adapter, _) in MAKERS {
            let output = run(adapter, variables, arguments);
            let stderr = String::from_utf8(output.stderr).unwrap();
            let case = format!("{adapter}, {variables:?}, {arguments:?}: {stderr}");
            assert_eq!(output.status.code(), Some(1), "{case}");
            assert!(said.iter().all(|words| stderr.contains(words)), "{case}");
        }
    }
}

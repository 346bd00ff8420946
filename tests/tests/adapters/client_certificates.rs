//! Client certificates, and the directories of Docker and Podman with certificates for one server.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci_proto::{Config, PlainHttp, Reference, Registry};
use oci_proto_common::Settings;
use oci_proto_tests::clients::{MAKERS, settings};
use oci_proto_tests::internet::Authority;
use oci_proto_tests::interop::ocip;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::failures::{accept, secure, serve};

fn roots(pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap));
    roots
}

/// TLS of a server that requires a client certificate of an authority.
fn requiring(
    authority: &Authority,
    of_clients: &str,
    name: &str,
    version: &'static SupportedProtocolVersion,
) -> ServerConfig {
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(of_clients)), provider.clone());
    let (certificate, key) = authority.issue_pem(name);
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap()
}

/// Settings with TLS, also on loopback.
fn over_tls() -> Settings {
    let mut config = Config::default();
    config.plain_http = PlainHttp::Never;
    config.limits.max_attempts = 1;
    settings().config(config).certificate_directories([])
}

/// Requests a manifest with each adapter, which report the same error. Returns it.
fn error(settings: &Settings, address: SocketAddr) -> String {
    let reference: Reference = format!("{address}/demo").parse().unwrap();
    let [tokio, ureq] =
        MAKERS.map(|(_, make)| make(settings).manifest(&reference, None).unwrap_err().to_string());
    assert_eq!(tokio, ureq);
    tokio
}

#[track_caller]
fn assert_said(settings: &Settings, address: SocketAddr, said: &str) {
    let error = error(settings, address);
    assert!(error.contains(said), "not {said:?}: {error}");
}

fn registry(address: SocketAddr) -> Registry {
    address.to_string().parse().unwrap()
}

/// The directory of a server, with these files.
fn directory(all: &Path, address: SocketAddr, files: &[(&str, &str)]) -> PathBuf {
    let directory = all.join(address.to_string());
    fs::create_dir_all(&directory).unwrap();
    for (name, text) in files {
        fs::write(directory.join(name), text).unwrap();
    }
    directory
}

#[test]
fn a_client_certificate_is_for_one_registry() {
    let (authority, of_clients, other) = (Authority::new(), Authority::named("a"), Authority::named("b"));
    let (certificate, key) = of_clients.issue_pem("client");
    let (others, others_key) = other.issue_pem("client");
    let trusting = over_tls().add_root_certificates_pem(authority.pem().as_bytes()).unwrap();
    for version in [&TLS12, &TLS13] {
        let address = secure(requiring(&authority, of_clients.pem(), "127.0.0.1", version));
        let with = |address, certificate: &str, key: &str| {
            trusting
                .clone()
                .client_certificate_pem(&registry(address), certificate.as_bytes(), key.as_bytes())
                .unwrap()
        };
        assert_said(&with(address, &certificate, &key), address, "404 Not Found");
        let refused = "could not establish TLS: the server refuses the client certificate, or requires one";
        assert_said(&with(address, &others, &others_key), address, refused);
        // The certificate that the server accepts is chosen.
        let both = with(address, &others, &others_key)
            .client_certificate_pem(&registry(address), certificate.as_bytes(), key.as_bytes())
            .unwrap();
        assert_said(&both, address, "404 Not Found");

        let elsewhere = SocketAddr::new(address.ip(), 1);
        let required = if version == &TLS13 {
            "the server requires a client certificate"
        } else {
            "could not establish TLS: "
        };
        assert_said(&with(elsewhere, &certificate, &key), address, required);
        assert_said(&trusting, address, required);
    }
}

#[test]
fn a_redirect_does_not_take_the_certificates_of_a_registry_elsewhere() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue_pem("client");
    let target = secure(requiring(&authority, authority.pem(), "127.0.0.1", &TLS13));
    let config = Arc::new(requiring(&authority, authority.pem(), "127.0.0.1", &TLS13));
    let redirecting = serve(move |stream| {
        let mut stream = accept(&config, stream)?;
        let _ = stream.read(&mut [0; 1000])?;
        write!(stream, "HTTP/1.1 307 Temporary Redirect\r\nLocation: https://{target}/x\r\n")?;
        stream.write_all(b"Content-Length: 0\r\nConnection: close\r\n\r\n")
    });
    let all = tempfile::tempdir().unwrap();
    let files = [("ca.crt", authority.pem()), ("c.cert", &certificate), ("c.key", &key)];
    directory(all.path(), redirecting, &files);
    let of_registry = over_tls().certificate_directories([all.path().to_owned()]);
    assert_said(&of_registry, redirecting, "the server's certificate is from an unknown authority");
    let trusting = of_registry.clone().add_root_certificates_pem(authority.pem().as_bytes()).unwrap();
    assert_said(&trusting, redirecting, "the server requires a client certificate");
    let given = over_tls()
        .add_root_certificates_pem(authority.pem().as_bytes())
        .and_then(|settings| {
            settings.client_certificate_pem(&registry(redirecting), certificate.as_bytes(), key.as_bytes())
        })
        .unwrap();
    assert_said(&given, redirecting, "the server requires a client certificate");

    directory(all.path(), target, &files);
    assert_said(&of_registry, redirecting, "404 Not Found");
}

#[test]
fn the_first_directory_of_a_server_counts() {
    let authority = Authority::new();
    let address = secure(authority.issue("127.0.0.1", |_| {}));
    let [first, second] = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let both = [first.path().to_owned(), second.path().to_owned()];
    let searching = over_tls().certificate_directories(both.clone());
    let unknown = "the server's certificate is from an unknown authority";
    directory(second.path(), address, &[("ca.crt", authority.pem()), ("README.txt", "none")]);
    assert_said(&searching, address, "404 Not Found");
    directory(first.path(), address, &[]);
    assert_said(&searching, address, unknown);
    assert_said(&over_tls(), address, unknown);
}

#[test]
fn unusable_files_are_named() {
    let authority = Authority::new();
    let address = secure(authority.issue("127.0.0.1", |_| {}));
    let (certificate, key) = authority.issue_pem("client");
    let (certificate, key) = (&*certificate, &*key);
    let (_, other_key) = authority.issue_pem("client");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n\
               -----END RSA PRIVATE KEY-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let large = "x".repeat((1 << 20) + 1);
    for (files, wrong, said) in [
        (&[("ca.crt", "")][..], "ca.crt", "no certificate in the PEM text"),
        (&[("ca.crt", broken)], "ca.crt", "not a valid X.509 certificate"),
        (&[("ca.crt", &large)], "ca.crt", "larger than 1 MiB"),
        (&[("c.cert", certificate)], "c.cert", "c.key is missing; add it, or rename the file to *.crt"),
        (&[("c.key", key)], "c.key", "c.cert is missing; add it, or remove the key"),
        (&[("c.cert", "none"), ("c.key", key)], "c.cert", "no certificate in the PEM text"),
        (&[("c.cert", broken), ("c.key", key)], "c.cert", "not a valid X.509 certificate"),
        (&[("c.cert", certificate), ("c.key", "")], "c.key", "no private key in the PEM text"),
        (&[("c.cert", certificate), ("c.key", encrypted)], "c.key", "is encrypted; decrypt it with `openssl"),
        (&[("c.cert", certificate), ("c.key", old)], "c.key", "is encrypted; decrypt it with `openssl"),
        (&[("c.cert", certificate), ("c.key", &other_key)], "c.key", "not that of the certificate"),
    ] {
        let all = tempfile::tempdir().unwrap();
        let path = directory(all.path(), address, files).join(wrong);
        let error = error(&over_tls().certificate_directories([all.path().to_owned()]), address);
        let named =
            format!("could not establish TLS: the certificate file {} is not usable: ", path.display());
        assert!(error.contains(&named) && error.contains(said), "not {wrong}, {said:?}: {error}");
    }
    let all = tempfile::tempdir().unwrap();
    let path = directory(all.path(), address, &[]).join("ca.crt");
    fs::create_dir(&path).unwrap();
    assert_said(
        &over_tls().certificate_directories([all.path().to_owned()]),
        address,
        "ca.crt is not usable: Is a directory",
    );
}

#[test]
fn a_whole_configuration_of_tls_replaces_the_certificates() {
    let authority = Authority::new();
    let address = secure(authority.issue("127.0.0.1", |_| {}));
    let own = |roots| {
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS12])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    };
    assert_said(&over_tls().tls(own(roots(authority.pem()))), address, "404 Not Found");
    let all = tempfile::tempdir().unwrap();
    directory(all.path(), address, &[("ca.crt", authority.pem())]);
    let replaced =
        over_tls().certificate_directories([all.path().to_owned()]).tls(own(RootCertStore::empty()));
    assert_said(&replaced, address, "the server's certificate is from an unknown authority");

    let both = replaced.add_root_certificates_pem(authority.pem().as_bytes()).unwrap();
    let said = [
        oci_proto_tokio::Client::with_settings(both.clone()).unwrap_err().to_string(),
        oci_proto_ureq::Client::with_settings(both).unwrap_err().to_string(),
    ];
    assert!(said[0].contains("add the certificates to that instead"), "{said:?}");
    assert_eq!(said[0], said[1]);
}

#[test]
fn ocip_has_options_and_directories_for_certificates() {
    let authority = Authority::new();
    // TLS is the default for this address.
    let required = secure(requiring(&authority, authority.pem(), "0.0.0.0", &TLS13));
    let required = SocketAddr::new([0, 0, 0, 0].into(), required.port());
    let (certificate, key) = authority.issue_pem("client");
    let (_, other_key) = authority.issue_pem("client");
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ca, cert, of_cert) =
        (file("ca.pem", authority.pem()), file("c.pem", &certificate), file("k.pem", &key));
    let other = file("o.pem", &other_key);
    let name = format!("{required}/demo");
    let run = |adapter: &str, arguments: &[&str]| {
        let output = ocip()
            .args(["--adapter", adapter, "--retries", "0", "resolve", &name])
            .args(arguments)
            .env("HOME", home.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let cases: [(&[&str], i32, &str); 7] = [
        (&["--plain-http", "--cert", &cert, "--key", &of_cert], 2, "omit --plain-http"),
        (&["--ca-file", &ca, "--cert", &cert, "--key", &of_cert], 1, "404 Not Found"),
        (
            &["--ca-file", &ca],
            1,
            "\nhint: use --cert FILE and --key FILE with a certificate that the registry accepts",
        ),
        (&["--cert", &cert], 2, "--cert requires --key FILE with its private key"),
        (&["--key", &of_cert], 2, "--key requires --cert FILE with its certificate"),
        (
            &["--cert", &of_cert, "--key", &of_cert],
            2,
            "--cert and --key: the client certificate is not usable: no certificate",
        ),
        (&["--cert", &cert, "--key", &other], 2, "the private key is not that of the certificate"),
    ];
    for (arguments, status, said) in cases {
        for (adapter, _) in MAKERS {
            let (code, stderr) = run(adapter, arguments);
            assert_eq!(code, Some(status), "{adapter}, {arguments:?}: {stderr}");
            assert!(stderr.contains(said), "{adapter}, {arguments:?}: {stderr}");
        }
    }
    let all = home.path().join(".config/containers/certs.d");
    let files = [("ca.crt", authority.pem()), ("c.cert", &certificate), ("c.key", &key)];
    let found = directory(&all, required, &files);
    for (adapter, _) in MAKERS {
        let (_, stderr) = run(adapter, &[]);
        assert!(stderr.contains("404 Not Found"), "{adapter}: {stderr}");
    }
    fs::remove_file(found.join("c.key")).unwrap();
    for (adapter, _) in MAKERS {
        let (_, stderr) = run(adapter, &[]);
        assert!(
            stderr.contains("c.key is missing") && stderr.contains("\nhint: correct the file"),
            "{adapter}: {stderr}"
        );
    }
}

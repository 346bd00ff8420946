//! Whom the client trusts.

mod registry;

use std::net::TcpStream;
use std::sync::Arc;

use oci_proto::server::Memory;
use oci_proto::{Config, FaultKind, PlainHttp};
use oci_proto_ureq::{BuildError, Client};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use registry::{Duplex, Play, Registry, Secure};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

struct Tls(Arc<ServerConfig>);

impl Secure for Tls {
    fn secure(&self, stream: TcpStream) -> Option<Box<dyn Duplex>> {
        let connection = ServerConnection::new(Arc::clone(&self.0)).ok()?;
        Some(Box::new(StreamOwned::new(connection, stream)))
    }
}

/// A registry over TLS, and its certificate as PEM.
fn registry() -> (Registry, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let (memory, root) = Memory::sample();
    let tls = Tls(Arc::new(config));
    (Registry::start_secure(memory, &[("demo:latest", &root)], |_| Play::Serve, tls), cert.pem())
}

fn secure() -> Config {
    let mut config = Config::default();
    config.plain_http = PlainHttp::Never;
    config
}

#[test]
fn an_added_root_is_trusted() {
    let (registry, pem) = registry();
    let client = Client::builder()
        .config(secure())
        .add_root_certificates_pem(pem.as_bytes())
        .unwrap()
        .build()
        .unwrap();
    for _ in 0..3 {
        client.manifest(&registry.named("demo:latest"), None).unwrap();
    }
    assert_eq!(registry.connections(), 1);
}

#[test]
fn a_stranger_is_not_trusted() {
    let (registry, _) = registry();
    let client = Client::builder().config(secure()).build().unwrap();
    let error = client.manifest(&registry.named("demo:latest"), None).unwrap_err();
    assert_eq!(error.fault().unwrap().kind(), FaultKind::Tls, "{error}");
    assert!(registry.requests().is_empty());
}

#[test]
fn what_cannot_be_a_root_is_refused() {
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in ["", "no PEM at all", broken, "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
        let error = Client::builder().add_root_certificates_pem(pem.as_bytes()).unwrap_err();
        assert!(matches!(error, BuildError::Certificates(_)), "{pem:?}: {error}");
    }
}

//! Servers whose certificate is that of an authority, as `openssl req -x509` makes them.

use std::net::SocketAddr;
use std::sync::Arc;

use oci_proto::{Config, PlainHttp, Reference};
use oci_proto_tests::adapter::{MAKERS, settings};
use oci_proto_tests::internet::Authority;
use oci_proto_tests::interop::ocip;
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::failures::secure;

/// An authority's certificate for `name`, signed by itself.
fn self_signed(name: &str, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Certificate {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    params.self_signed(key).unwrap()
}

/// A server that presents a certificate, whether or not `key` belongs to it.
fn presents(certificate: &Certificate, key: &KeyPair) -> SocketAddr {
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = CertifiedKey::new(vec![certificate.der().clone()], any_supported_type(&key).unwrap());
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    secure(config)
}

/// Requests a manifest from the server with each adapter, trusting the certificates.
fn assert_said(case: &str, address: SocketAddr, trusted: &str, said: &str) {
    let mut config = Config::default();
    config.plain_http = PlainHttp::Never;
    config.limits.max_attempts = 1;
    let settings = settings().config(config).add_root_certificates_pem(trusted.as_bytes()).unwrap();
    let reference: Reference = format!("{address}/demo").parse().unwrap();
    for (adapter, make) in MAKERS {
        let error = make(&settings).manifest(&reference, None).unwrap_err();
        assert!(error.to_string().contains(said), "{case}, {adapter}: {error}");
    }
}

#[test]
fn a_trusted_certificate_of_an_authority_may_be_the_servers() {
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let own = self_signed("127.0.0.1", &key, |_| {});
    let others = self_signed("127.0.0.1", &other, |_| {});
    let both = own.pem() + &others.pem();
    assert_said("trusted", presents(&own, &key), &own.pem(), "404 Not Found");
    assert_said("one of two", presents(&own, &key), &both, "404 Not Found");

    let wrong_name = self_signed("a.test", &key, |_| {});
    let name = "not valid for name \"127.0.0.1\"";
    assert_said("name", presents(&wrong_name, &key), &wrong_name.pem(), name);

    let expired = self_signed("127.0.0.1", &key, |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    assert_said("expired", presents(&expired, &key), &expired.pem(), "certificate expired");

    // The server cannot prove that the certificate is its own.
    assert_said("key", presents(&own, &other), &own.pem(), "could not establish TLS: ");

    let untrusted =
        "the server presented the certificate of an authority (CA:TRUE) that is not itself trusted";
    assert_said("another key", presents(&own, &key), &others.pem(), untrusted);
    // The same name and key, but not the same certificate.
    let renewed = self_signed("127.0.0.1", &key, |params| params.serial_number = Some(7_u64.into()));
    assert_said("another certificate", presents(&renewed, &key), &own.pem(), untrusted);

    let authority = Authority::new();
    let issued = authority.issue("127.0.0.1", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    assert_said("issued by a trusted authority", secure(issued), authority.pem(), untrusted);
}

#[test]
fn ocip_hints_at_the_certificate_to_trust() {
    let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let address = presents(&self_signed("127.0.0.1", &key, |_| {}), &key);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, self_signed("127.0.0.1", &other, |_| {}).pem()).unwrap();
    for (adapter, _) in MAKERS {
        let output = ocip()
            .args(["--adapter", adapter, "--retries", "0", "resolve", "--ca-file"])
            .arg(file.path())
            .arg(format!("{address}/demo"))
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.contains("\nhint: use --ca-file FILE with exactly that certificate"),
            "{adapter}: {stderr}"
        );
    }
}

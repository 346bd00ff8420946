//! Certificates of servers, also those of an authority, as `openssl req -x509` makes them.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use oci_proto::{Config, PlainHttp, Reference};
use oci_proto_tests::clients::{MAKERS, settings};
use oci_proto_tests::internet::Authority;
use oci_proto_tests::interop::ocip;
use rcgen::{BasicConstraints, Certificate, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::{default_provider, sign::any_supported_type};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::failures::{secure, serve};

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
    let errors = MAKERS.map(|(_, make)| make(&settings).manifest(&reference, None).unwrap_err().to_string());
    assert!(errors[0].contains(said), "{case}: {}", errors[0]);
    assert_eq!(errors[0], errors[1], "{case}");
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
    let name =
        ": could not establish TLS: the server's certificate is not valid for 127.0.0.1, only for a.test";
    assert_said("name", presents(&wrong_name, &key), &wrong_name.pem(), name);

    let expired = self_signed("127.0.0.1", &key, |params| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    assert_said(
        "expired",
        presents(&expired, &key),
        &expired.pem(),
        "it was valid until Tue, 01 Jan 2002 00:00:00 GMT",
    );

    // The server cannot prove that the certificate is its own.
    let key_is_missing = ": could not establish TLS: the server does not have the private key of the certificate that it presents";
    assert_said("key", presents(&own, &other), &own.pem(), key_is_missing);

    let untrusted = ": could not establish TLS: the server presented the certificate of an authority (CA:TRUE) that is not itself trusted";
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
fn the_errors_of_certificates_are_words() {
    let authority = Authority::new();
    let issued = |change: &dyn Fn(&mut CertificateParams)| {
        secure(authority.issue("127.0.0.1", |params: &mut CertificateParams| change(params)))
    };
    let said = |address, said: &str| assert_said(said, address, authority.pem(), said);
    let certificate = "could not establish TLS: the server's certificate";
    said(
        issued(&|params| params.not_before = rcgen::date_time_ymd(3001, 1, 1)),
        &format!("{certificate} is not valid yet, but from Thu, 01 Jan 3001 00:00:00 GMT"),
    );
    said(
        issued(&|params| params.subject_alt_names.clear()),
        &format!("{certificate} is not valid for 127.0.0.1, since it has no subject alternative name"),
    );
    said(
        issued(&|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
        &format!("{certificate} is not meant for servers"),
    );
    let unknown = format!("{certificate} is from an unknown authority");
    said(secure(Authority::named("another").issue("127.0.0.1", |_| {})), &format!("{unknown}, which is not"));
    said(
        secure(Authority::new().issue("127.0.0.1", |_| {})),
        &format!("{unknown}: a trusted one has its name"),
    );
    let plain = serve(|mut stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        io::copy(&mut stream, &mut io::sink()).map(drop)
    });
    said(plain, "could not establish TLS: the server answers with something other than TLS");
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

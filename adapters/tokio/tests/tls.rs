//! TLS: whom the default transport trusts.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::read_head;
use oci_proto::{Config, FaultKind, PlainHttp};
use oci_proto_tokio::{BuildError, Builder, Client};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A server with a certificate for 127.0.0.1, which answers every request with the same blob; and that
/// certificate as PEM.
async fn secure() -> (SocketAddr, String) {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let pem = signed.cert.pem();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                while read_head(&mut stream).await.is_some() {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret").await.unwrap();
                }
            });
        }
    });
    (address, pem)
}

fn only_https() -> Builder {
    let mut config = Config::default();
    config.plain_http = PlainHttp::Never;
    Client::builder().config(config)
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_a_tls_fault() {
    let (address, _) = secure().await;
    let client = only_https().build().unwrap();
    let error = client.blob_bytes(&common::blob_of(address, b"secret"), None, 6).await.unwrap_err();
    assert_eq!(error.fault().map(oci_proto::Fault::kind), Some(FaultKind::Tls), "{error}");
}

#[tokio::test]
async fn a_certificate_that_was_added_is_trusted() {
    let (address, pem) = secure().await;
    let client = only_https().add_root_certificates_pem(pem.as_bytes()).unwrap().build().unwrap();
    for _ in 0..2 {
        let bytes = client.blob_bytes(&common::blob_of(address, b"secret"), None, 6).await.unwrap();
        assert_eq!(bytes, "secret");
    }
}

/// What a blob meets at a server that treats connections so.
async fn met<R: Future<Output = ()> + Send + 'static>(
    treat: impl Fn(TcpStream) -> R + Send + 'static,
) -> oci_proto::Error {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(treat(stream));
        }
    });
    let (_, pem) = secure().await;
    let builder = only_https().add_root_certificates_pem(pem.as_bytes()).unwrap();
    let client = builder.connect_timeout(Duration::from_millis(300)).build().unwrap();
    client.blob_bytes(&common::blob_of(address, b"secret"), None, 6).await.unwrap_err()
}

#[tokio::test]
async fn a_server_without_tls_is_a_tls_fault() {
    let error = met(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        common::closed(&mut stream).await;
    })
    .await;
    assert_eq!(error.fault().map(oci_proto::Fault::kind), Some(FaultKind::Tls), "{error}");
}

#[tokio::test]
async fn a_handshake_that_nobody_answers_is_a_timeout() {
    let error = met(|mut stream| async move { common::closed(&mut stream).await }).await;
    assert_eq!(error.fault().map(oci_proto::Fault::kind), Some(FaultKind::Timeout), "{error}");
}

#[test]
fn a_text_without_a_certificate_is_refused() {
    for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let refused = Client::builder().add_root_certificates_pem(text.as_bytes()).unwrap_err();
        assert!(matches!(refused, BuildError::Certificates(_)), "{text:?}: {refused}");
    }
}

//! Connections through proxies on loopback that record the requests they receive.

use http::Request;
use http_body_util::BodyExt;
use hyper_util::client::legacy::connect::HttpInfo;
use oci_proto::FaultKind;
use oci_proto_common::Settings;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::payload::Body;
use crate::transport::HyperTransport;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn transport(proxies: Proxies, roots: RootCertStore) -> HyperTransport {
    let tls = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let network = Settings::default().proxies(proxies).tls(tls).network().unwrap();
    HyperTransport::open(network, Arc::default()).unwrap()
}

fn through_all(proxy: &str) -> Proxies {
    Proxies::all(Some(proxy)).unwrap()
}

async fn get(mut transport: HyperTransport, uri: &str) -> Result<String, BoxError> {
    let response = transport.call(Request::get(uri).body(Body::default()).unwrap()).await?;
    Ok(String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?)
}

async fn head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

/// Sends a GET of `uri` through a proxy that `treat` implements. Returns the body of the response, and the
/// result of `treat`.
async fn through<R>(
    proxy: impl Fn(std::net::SocketAddr) -> String,
    roots: RootCertStore,
    uri: &str,
    treat: impl FnOnce(TcpStream) -> R,
) -> (String, R::Output)
where
    R: Future,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let transport = transport(through_all(&proxy(listener.local_addr().unwrap())), roots);
    let serving = async { treat(listener.accept().await.unwrap().0).await };
    let (answer, heard) = tokio::join!(get(transport, uri), serving);
    (answer.unwrap(), heard)
}

#[tokio::test]
async fn plain_requests_to_a_proxy_use_the_absolute_form() {
    let (answer, heard) = through(
        |proxy| format!("http://user:pw@{proxy}"),
        RootCertStore::empty(),
        "http://registry.test/v2/",
        |mut stream| async move {
            let heard = head(&mut stream).await;
            stream.write_all(ANSWER).await.unwrap();
            heard
        },
    )
    .await;
    assert_eq!(answer, "ok");
    assert!(heard.starts_with("get http://registry.test/v2/ http/1.1\r\n"), "{heard}");
    assert!(heard.contains("proxy-authorization: basic dxnlcjpwdw==\r\n"), "{heard}");
}

#[tokio::test]
async fn https_requests_go_through_a_tunnel() {
    let signed = rcgen::generate_simple_self_signed(["registry.test".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(signed.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (answer, (to_proxy, to_server)) = through(
        |proxy| format!("http://user:pw@{proxy}"),
        roots,
        "https://registry.test/v2/",
        |mut stream| async move {
            let to_proxy = head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            let to_server = head(&mut stream).await;
            stream.write_all(ANSWER).await.unwrap();
            (to_proxy, to_server)
        },
    )
    .await;
    assert_eq!(answer, "ok");
    assert!(to_proxy.starts_with("connect registry.test:443 http/1.1\r\n"), "{to_proxy}");
    assert!(to_proxy.contains("proxy-authorization: basic dxnlcjpwdw==\r\n"), "{to_proxy}");
    assert!(to_server.starts_with("get /v2/ http/1.1\r\n"), "{to_server}");
    assert!(!to_server.contains("proxy-authorization"), "{to_server}");
}

#[tokio::test]
async fn a_socks_proxy_resolves_the_name() {
    let (answer, (asked, heard)) = through(
        |proxy| format!("socks5://{proxy}"),
        RootCertStore::empty(),
        "http://registry.test:8080/v2/",
        |mut stream| async move {
            let mut greeting = [0; 3];
            stream.read_exact(&mut greeting).await.unwrap();
            stream.write_all(&[5, 0]).await.unwrap();
            let mut asked = [0; 4 + 1 + "registry.test".len() + 2];
            stream.read_exact(&mut asked).await.unwrap();
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
            let heard = head(&mut stream).await;
            stream.write_all(ANSWER).await.unwrap();
            (asked.to_vec(), heard)
        },
    )
    .await;
    assert_eq!(answer, "ok");
    assert_eq!(asked, b"\x05\x01\x00\x03\x0dregistry.test\x1f\x90");
    assert!(heard.starts_with("get /v2/ http/1.1\r\n"), "{heard}");
}

#[tokio::test]
async fn a_proxy_that_requires_a_login_is_named() {
    for (login, url, why) in [
        ("", "https://registry.test/", "requires a login"),
        ("", "http://registry.test/", "requires a login"),
        ("user:hunter2@", "https://registry.test/", "refused the login in its URL"),
        ("user:hunter2@", "http://registry.test/", "refused the login in its URL"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let transport = transport(through_all(&format!("http://{login}{address}")), RootCertStore::empty());
        let refuses = async {
            let mut stream = listener.accept().await.unwrap().0;
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.unwrap();
        };
        let (answer, ()) = tokio::join!(get(transport, url), refuses);
        let fault = crate::fault::fault(&*answer.unwrap_err(), None);
        let message = format!("{address} {why} (407 Proxy Authentication Required)");
        assert_eq!((fault.kind(), fault.message()), (FaultKind::Proxy, &*message), "{url}");
    }
}

#[tokio::test]
async fn only_a_direct_connection_reports_the_address_of_the_server() {
    for is_direct in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut stream = listener.accept().await.unwrap().0;
            head(&mut stream).await;
            stream.write_all(ANSWER).await.unwrap();
        });
        let proxies = through_all(&format!("http://{address}"));
        let uri = if is_direct { format!("http://{address}/") } else { "http://registry.test/".to_owned() };
        let request = Request::get(uri).body(Body::default()).unwrap();
        let response = transport(proxies, RootCertStore::empty()).call(request).await.unwrap();
        let told = response.extensions().get::<HttpInfo>().map(HttpInfo::remote_addr);
        assert_eq!(told, is_direct.then_some(address));
    }
}

#[tokio::test]
async fn a_public_reach_excludes_loopback() {
    let transport = transport(Proxies::all(None).unwrap(), RootCertStore::empty());
    for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut request = Request::get(format!("http://{host}:{port}/")).body(Body::default()).unwrap();
        request.extensions_mut().insert(Reach::Public);
        let error = transport.clone().call(request).await.unwrap_err();
        assert_eq!(crate::fault::fault(&*error, None).kind(), FaultKind::OutOfReach, "{host}: {error}");
        assert!(listener.into_std().unwrap().accept().is_err(), "{host} was connected to");
    }
}

#[tokio::test]
async fn a_connection_serves_one_reach() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    let transport = transport(Proxies::all(None).unwrap(), RootCertStore::empty());
    let send = async |reach: Reach| {
        let mut request = Request::get(&uri).body(Body::default()).unwrap();
        request.extensions_mut().insert(reach);
        let response = transport.clone().call(request).await.unwrap();
        response.into_body().collect().await.unwrap();
    };
    let serving = async {
        let mut open = Vec::new();
        for _ in 0..2 {
            let mut stream = listener.accept().await.unwrap().0;
            head(&mut stream).await;
            stream.write_all(ANSWER).await.unwrap();
            open.push(stream);
        }
        open
    };
    let requests = async {
        send(Reach::Anywhere).await;
        send(Reach::ThisMachine).await;
    };
    tokio::join!(requests, serving);
}

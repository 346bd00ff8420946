//! The connections of the default transport, with HTTP/1.1 and HTTP/2.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use oci_proto::server::Policy;
use oci_proto::{Algorithm, Config, Descriptor, Digest, Fault, FaultKind, MediaType, PlainHttp, Reference};
use oci_proto_tokio::server::{Options, SharedRegistry};
use oci_proto_tokio::{BoxError, Client, Settings, UploadOptions};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

type Answer = Result<Response<UnsyncBoxBody<Bytes, BoxError>>, h2::Error>;

/// What a server did.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    closed: AtomicUsize,
    http1: AtomicUsize,
    http2: AtomicUsize,
}

impl Seen {
    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The connections that are open.
    fn open(&self) -> usize {
        self.connections() - self.closed.load(Ordering::SeqCst)
    }

    /// The requests with HTTP/1.1, and those with HTTP/2.
    fn requests(&self) -> (usize, usize) {
        (self.http1.load(Ordering::SeqCst), self.http2.load(Ordering::SeqCst))
    }
}

/// A registry behind TLS.
struct Front {
    address: SocketAddr,
    seen: Arc<Seen>,
    /// The settings of a client that trusts it.
    settings: Settings,
}

impl Front {
    /// Offers these protocols. `treat` may take a connection that agreed on HTTP/2, and `answer` a request, both with
    /// their numbers, in place of the registry.
    async fn new(
        offer: &[&str],
        treat: impl Fn(usize, TlsStream<TcpStream>) -> Option<TlsStream<TcpStream>> + Send + Sync + 'static,
        answer: impl Fn(usize, &Request<Incoming>) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        tls.alpn_protocols = offer.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, treat, answer) = (Arc::<Seen>::default(), Arc::new(treat), Arc::new(answer));
        let registry = SharedRegistry::in_memory(Policy::open()).unwrap();
        let counts = seen.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = counts.connections.fetch_add(1, Ordering::SeqCst);
                let (acceptor, treat, answer) = (acceptor.clone(), treat.clone(), answer.clone());
                let (registry, counts) = (registry.clone(), counts.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let stream = if is_h2 { treat(number, stream) } else { Some(stream) };
                    let Some(stream) = stream else { return };
                    let after = counts.clone();
                    let service = service_fn(move |request: Request<Incoming>| {
                        let is_h2 = request.version() == Version::HTTP_2;
                        let before = counts.requests();
                        (if is_h2 { &counts.http2 } else { &counts.http1 }).fetch_add(1, Ordering::SeqCst);
                        let answered = answer(before.0 + before.1, &request);
                        let registry = registry.clone();
                        async move {
                            if let Some(answered) = answered {
                                return answered;
                            }
                            // So that requests overlap.
                            sleep(Duration::from_millis(5)).await;
                            let response = registry.respond(&Options::default(), request).await;
                            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
                        }
                    });
                    let io = TokioIo::new(stream);
                    // Clients may go without a word.
                    if is_h2 {
                        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
                    } else {
                        let _ = http1::Builder::new().serve_connection(io, service).await;
                    }
                    after.closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        let mut config = Config::default();
        config.plain_http = PlainHttp::Never;
        config.limits.backoff_first = Duration::from_millis(1);
        let settings = Settings::default()
            .config(config)
            .proxy(None)
            .unwrap()
            .add_root_certificates_pem(made.cert.pem().as_bytes())
            .unwrap();
        Self { address, seen, settings }
    }

    /// Speaks both, as it should.
    async fn good() -> Self {
        Self::new(BOTH, |_, stream| Some(stream), |_, _| None).await
    }

    /// Waits until this many connections are open.
    async fn has_open(&self, connections: usize) {
        let until = async {
            while self.seen.open() != connections {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), until).await.expect("connections stay open");
    }

    fn client(&self) -> Client {
        Client::with_settings(self.settings.clone()).unwrap()
    }

    fn repository(&self) -> Reference {
        format!("{}/app", self.address).parse().unwrap()
    }
}

const BOTH: &[&str] = &["h2", "http/1.1"];

fn blob(content: &'static [u8]) -> Descriptor {
    let digest = Digest::of(Algorithm::Sha256, content);
    Descriptor::new(MediaType::OCTET_STREAM, digest, content.len() as u64)
}

/// Uploads blobs and reads them again, many at a time.
async fn use_much(client: &Client, repository: &Reference) {
    let all = (0..40_u8).map(|number| async move {
        let content: &'static [u8] = vec![number; 10_000].leak();
        client.upload(repository, &blob(content), content, UploadOptions::default()).await.unwrap();
        let read = client.described_blob_bytes(repository, &blob(content), 10_000).await.unwrap();
        assert_eq!(read, content);
    });
    timeout(Duration::from_secs(30), futures_util::future::join_all(all)).await.unwrap();
}

async fn let_pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn reset(reason: h2::Reason) -> Answer {
    Err(reason.into())
}

#[tokio::test]
async fn one_connection_with_http2_carries_all_requests() {
    let front = Front::good().await;
    use_much(&front.client(), &front.repository()).await;
    assert_eq!(front.seen.connections(), 1);
    assert_eq!(front.seen.requests(), (0, 4 * 40));
}

#[tokio::test]
async fn an_origin_has_no_more_connections_than_requests_in_flight() {
    for limit in [1, 3, 8] {
        let front = Front::new(&["http/1.1"], |_, stream| Some(stream), |_, _| None).await;
        let mut config = Config::default();
        config.plain_http = PlainHttp::Never;
        config.limits.in_flight_per_origin = limit;
        let client = Client::with_settings(front.settings.clone().config(config)).unwrap();
        use_much(&client, &front.repository()).await;
        assert!(front.seen.connections() <= limit, "{} for {limit}", front.seen.connections());
        assert_eq!(front.seen.requests(), (4 * 40, 0));
    }
}

#[tokio::test]
async fn streams_that_a_server_did_not_process_are_repeated() {
    // The first of each kind: POST is among them, which may not be repeated otherwise.
    let known = Mutex::new(BTreeSet::new());
    let refuse = move |_, request: &Request<Incoming>| {
        let is_new = known.lock().unwrap().insert((request.method().to_string(), request.uri().to_string()));
        is_new.then(|| reset(h2::Reason::REFUSED_STREAM))
    };
    let front = Front::new(BOTH, |_, stream| Some(stream), refuse).await;
    use_much(&front.client(), &front.repository()).await;
    assert_eq!(front.seen.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_a_server_retires_is_replaced() {
    let front = Front::new(
        BOTH,
        |number, stream| {
            if number > 2 {
                return Some(stream);
            }
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let mut requests = 0;
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    requests += 1;
                    if requests == 2 {
                        connection.graceful_shutdown();
                    }
                    let missing = Response::builder().status(StatusCode::NOT_FOUND).body(()).unwrap();
                    // After the shutdown, a request may come too late.
                    let _ = respond.send_response(missing, true);
                }
            });
            None
        },
        |_, _| None,
    )
    .await;
    let (client, repository) = (front.client(), front.repository());
    for _ in 0..20 {
        let absent = client.described_blob_bytes(&repository, &blob(b"absent"), 100).await.unwrap_err();
        assert_eq!(absent.status(), Some(StatusCode::NOT_FOUND), "{absent}");
    }
    assert_eq!(front.seen.connections(), 4);
}

#[tokio::test]
async fn a_server_that_fails_at_the_http2_it_offers_gets_http1() {
    type Treat = fn(usize, TlsStream<TcpStream>) -> Option<TlsStream<TcpStream>>;
    let breaks: [(&str, Treat); 3] = [
        ("another protocol", |_, mut stream| {
            tokio::spawn(async move {
                let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(answer).await.unwrap();
                sleep(Duration::from_secs(10)).await;
            });
            None
        }),
        ("a closed connection", |_, mut stream| {
            tokio::spawn(async move { stream.shutdown().await });
            None
        }),
        ("an error of the protocol", |_, stream| {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let _ = connection.accept().await;
                connection.abrupt_shutdown(h2::Reason::INTERNAL_ERROR);
                let _ = std::future::poll_fn(|cx| connection.poll_closed(cx)).await;
            });
            None
        }),
    ];
    for (what, treat) in breaks {
        let front = Front::new(BOTH, treat, |_, _| None).await;
        use_much(&front.client(), &front.repository()).await;
        assert_eq!(front.seen.requests(), (4 * 40, 0), "{what}");
    }
}

#[tokio::test]
async fn a_server_that_demands_http1_gets_it() {
    let front = Front::new(
        BOTH,
        |_, stream| Some(stream),
        |number, request| {
            let demands = number >= 20 && request.version() == Version::HTTP_2;
            demands.then(|| reset(h2::Reason::HTTP_1_1_REQUIRED))
        },
    )
    .await;
    use_much(&front.client(), &front.repository()).await;
    let (http1, http2) = front.seen.requests();
    // Those in flight with the first that is refused are refused, too.
    assert!((20..=28).contains(&http2) && http1 + 20 == 4 * 40, "{http1} {http2}");
}

#[tokio::test]
async fn a_server_that_once_answered_with_http2_keeps_it() {
    let fails =
        |number: usize, _: &Request<Incoming>| (number % 7 == 1).then(|| reset(h2::Reason::INTERNAL_ERROR));
    let front = Front::new(BOTH, |_, stream| Some(stream), fails).await;
    let (client, repository) = (front.client(), front.repository());
    for _ in 0..20 {
        let absent = client.described_blob_bytes(&repository, &blob(b"absent"), 100).await.unwrap_err();
        assert_eq!(absent.status(), Some(StatusCode::NOT_FOUND), "{absent}");
    }
    assert_eq!((front.seen.connections(), front.seen.requests().0), (1, 0));
}

/// A body that ends with a reset of its stream.
struct Torn(Option<Bytes>);

impl Body for Torn {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let reset = || h2::Error::from(h2::Reason::INTERNAL_ERROR).into();
        Poll::Ready(Some(self.0.take().map(Frame::data).ok_or_else(reset)))
    }
}

#[tokio::test]
async fn a_download_whose_stream_is_reset_is_resumed() {
    let content: &'static [u8] = vec![7; 100_000].leak();
    let torn = Arc::new(AtomicUsize::new(0));
    let tears = torn.clone();
    let front = Front::new(
        BOTH,
        |_, stream| Some(stream),
        move |_, request| {
            let is_first = request.method() == Method::GET && tears.fetch_add(1, Ordering::SeqCst) == 0;
            is_first.then(|| {
                let head = Response::builder().header("content-length", content.len());
                let body = Torn(Some(Bytes::from_static(&content[..60_000])));
                Ok(head.body(body.boxed_unsync()).unwrap())
            })
        },
    )
    .await;
    let (client, repository) = (front.client(), front.repository());
    client.upload(&repository, &blob(content), content, UploadOptions::default()).await.unwrap();
    let read = client.described_blob_bytes(&repository, &blob(content), 100_000).await.unwrap();
    assert_eq!(read, content);
    assert_eq!(torn.load(Ordering::SeqCst), 2, "the rest is one request");
    assert_eq!(front.seen.connections(), 1);
}

#[tokio::test]
async fn an_upload_is_refused_before_it_is_sent() {
    let content: &'static [u8] = vec![7; 30_000_000].leak();
    let front = Front::new(
        BOTH,
        |_, stream| Some(stream),
        |_, request| {
            (request.method() == Method::PUT).then(|| {
                let refused = Response::builder().status(StatusCode::FORBIDDEN);
                let body = Full::from("no room for it").map_err(|never: Infallible| match never {});
                Ok(refused.body(body.boxed_unsync()).unwrap())
            })
        },
    )
    .await;
    let (client, repository) = (front.client(), front.repository());
    let large = blob(content);
    let uploading = client.upload(&repository, &large, content, UploadOptions::default());
    let refused = timeout(Duration::from_secs(20), uploading).await.unwrap().unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::FORBIDDEN), "{refused}");
    // The connection carries other requests meanwhile and afterwards.
    let absent = client.described_blob_bytes(&repository, &blob(b"absent"), 100).await.unwrap_err();
    assert_eq!(absent.status(), Some(StatusCode::NOT_FOUND), "{absent}");
    assert_eq!(front.seen.connections(), 1);
}

#[tokio::test]
async fn every_request_that_waits_for_a_connection_learns_why_there_is_none() {
    let front = Front::good().await;
    let client = Client::with_settings({
        let mut config = Config::default();
        config.plain_http = PlainHttp::Never;
        Settings::default().config(config).proxy(None).unwrap()
    })
    .unwrap();
    let repository = front.repository();
    let absent = blob(b"absent");
    let all = (0..8).map(|_| client.described_blob_bytes(&repository, &absent, 100));
    for ended in futures_util::future::join_all(all).await {
        let error = ended.unwrap_err();
        assert_eq!(error.fault().map(Fault::kind), Some(FaultKind::Tls), "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn idle_connections_are_closed() {
    for offer in [BOTH, &["http/1.1"]] {
        let front = Front::new(offer, |_, stream| Some(stream), |_, _| None).await;
        let client = front.client();
        use_much(&client, &front.repository()).await;
        let opened = front.seen.connections();
        let_pass(Duration::from_secs(25)).await;
        // Some of the connections are used before they have been idle for long.
        let absent = blob(b"absent");
        let one = client.described_blob_bytes(&front.repository(), &absent, 100).await.unwrap_err();
        assert_eq!(one.status(), Some(StatusCode::NOT_FOUND), "{one}");
        assert_eq!(front.seen.connections(), opened);
        let_pass(Duration::from_secs(10)).await;
        front.has_open(1).await;
        let_pass(Duration::from_secs(61)).await;
        front.has_open(0).await;
    }
}

#[tokio::test]
async fn the_connections_of_a_client_end_with_it() {
    for offer in [BOTH, &["http/1.1"]] {
        let front = Front::new(offer, |_, stream| Some(stream), |_, _| None).await;
        use_much(&front.client(), &front.repository()).await;
        front.has_open(0).await;
    }
}

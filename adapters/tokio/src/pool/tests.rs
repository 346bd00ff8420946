//! Pools that outlive the runtimes of their connections.

use std::time::Duration;

use http_body_util::BodyExt as _;
use oci_proto_common::{Proxies, Settings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::yield_now;

use super::*;

fn pool() -> Pool {
    let network = Settings::default().proxies(Proxies::default()).network().unwrap();
    let tls = network.trust.into_tls(Arc::new(rustls::crypto::ring::default_provider())).unwrap();
    Pool::new(
        Connector::new(Arc::new(tls), Arc::new(network.proxies), network.connect_timeout),
        Arc::default(),
    )
}

/// Answers one request on each connection, and keeps it open.
async fn serve(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let read = stream.read(&mut [0; 1000]).await.unwrap();
            assert!(read > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            let _ = stream.read(&mut [0; 1000]).await;
        });
    }
}

#[test]
fn the_connections_of_a_runtime_are_forgotten_when_it_ends() {
    let servers = Runtime::new().unwrap();
    let listener = servers.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    servers.spawn(serve(listener));
    let pool = pool();
    for _ in 0..3 {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let response =
                pool.clone().send(Request::get(&url).body(Body::default()).unwrap()).await.unwrap();
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
            while pool.0.lock().origins.values().all(|origin| origin.idle.is_empty()) {
                yield_now().await;
            }
        });
        drop(runtime);
        assert!(pool.0.lock().origins.is_empty(), "a connection is kept");
    }
}

/// One of several servers behind an address may speak HTTP/1.1, and another one HTTP/2.
#[tokio::test]
async fn a_request_that_awaits_http2_does_not_wait_for_a_busy_connection_with_http1() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (pool, request) = (pool(), || Request::get(&url).body(Body::default()).unwrap());
    let busy = pool.0.enter(&request()).unwrap();
    let _connection = busy.connection().await.unwrap();
    pool.0.lock().origins.values_mut().for_each(|origin| origin.is_exclusive = false);
    let connecting = pool.0.enter(&request()).unwrap();
    let connected = timeout(Duration::from_secs(5), connecting.connection()).await;
    assert!(connected.expect("it waits").is_ok());
}

//! Lists as streams.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{server, tag};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use oci_proto_tokio::Client;
use tokio::io::AsyncWriteExt as _;
use tokio::time::sleep;

/// A registry with an endless list of tags, two on a page, and the number of pages that it has sent.
async fn endless() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let address = server(move |mut stream, _| {
        let page = counter.fetch_add(1, Ordering::SeqCst);
        async move {
            let body = format!(r#"{{"tags":["a{page}","b{page}"]}}"#);
            let head = "HTTP/1.1 200 OK\r\nConnection: close";
            let (link, length) = (format!("<?p={page}>; rel=\"next\""), body.len());
            let answer = format!("{head}\r\nLink: {link}\r\nContent-Length: {length}\r\n\r\n{body}");
            // The client may be gone.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    (address, sent)
}

#[tokio::test]
async fn a_list_is_read_one_page_ahead_until_it_is_dropped() {
    let (address, sent) = endless().await;
    let client = Client::new().unwrap();
    let mut tags = client.tags(&tag(address), None);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(sent.load(Ordering::SeqCst), 0, "a list starts when it is polled");
    for page in 1..4 {
        assert!(tags.try_next().await.unwrap().unwrap().as_str().starts_with('a'));
        sleep(Duration::from_millis(100)).await;
        assert_eq!(sent.load(Ordering::SeqCst), page + 1, "the next page is read meanwhile, and no other");
        assert!(tags.next().now_or_never().is_some(), "a page is handed out without waiting");
    }
    drop(tags);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(sent.load(Ordering::SeqCst), 4);
}

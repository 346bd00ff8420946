//! Bodies that are refused, stall, or break off.

use std::time::{Duration, Instant};

use oci_proto::server::Policy;
use oci_proto::{Algorithm, Digest};
use oci_proto_tokio::server::Options;
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::support::{Http, INDEX, Sent, start, start_with, with_query};

/// The size of a body that fits into no socket.
const LARGE: usize = 20 << 20;
const IDLE: Duration = Duration::from_millis(400);
/// A time that is never reached, unless something hangs.
const LONG: Duration = Duration::from_secs(20);

fn small_policy() -> Policy {
    let mut policy = Policy::open();
    policy.blob_bytes = 1 << 20;
    policy
}

#[tokio::test]
async fn a_client_that_sends_all_of_a_refused_body_sees_the_refusal() {
    let registry = start_with(small_policy(), Options::default()).await;
    let body = vec![7; LARGE];
    let digest = Digest::of(Algorithm::Sha256, &body);
    let mut http = Http::connect(registry.address()).await;
    let at = http.begin("repo").await;
    let post = format!("/v2/repo/blobs/uploads/?digest={digest}");
    for (method, target, header, status) in [
        ("POST", &*post, "X: y", 413),
        ("PATCH", &*at, "X: y", 413),
        ("PATCH", &*at, "Content-Range: 9-20971528", 416),
        ("PUT", &*with_query(&at, &format!("digest={digest}")), "X: y", 413),
        ("PUT", "/v2/repo/manifests/1", "X: y", 413),
        ("PUT", "/v2/Repo/manifests/1", "X: y", 400),
        ("DELETE", &*post, "X: y", 405),
    ] {
        for sent in [Sent::Whole(&body), Sent::Chunked(&[&body])] {
            let mut http = Http::connect(registry.address()).await;
            let refused = http.ask(method, target, &[header], sent).await.is(status);
            assert_eq!(refused.header("connection"), "close", "{method} {target}");
            timeout(LONG, http.closed()).await.expect("the connection is closed");
        }
    }
    // The session is as it was.
    let status = http.get(&at).await;
    assert!(status.status == 404 || status.header("range") == "0-0", "{status:?}");
}

#[tokio::test]
async fn a_body_with_a_transfer_coding_but_chunked_is_refused() {
    let registry = start_with(Policy::open(), Options::default()).await;
    let index = format!("{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[]}}");
    let body = format!("{:x}\r\n{index}\r\n0\r\n\r\n", index.len());
    for (header, status) in [("gzip, chunked", 501), ("chunked", 201)] {
        let mut http = Http::connect(registry.address()).await;
        let header = format!("Transfer-Encoding: {header}");
        http.write_head("PUT", "/v2/repo/manifests/1", &[&header]).await;
        http.stream.write_all(body.as_bytes()).await.unwrap();
        http.stream.flush().await.unwrap();
        http.read("PUT").await.is(status);
        let read = http.get("/v2/repo/manifests/1").await;
        assert_eq!(read.status == 200, status == 201, "{header}: {read:?}");
    }
}

#[tokio::test]
async fn a_connection_outlives_a_small_refused_body() {
    let registry = start_with(Policy::default(), Options::default()).await;
    let mut http = Http::connect(registry.address()).await;
    for _ in 0..3 {
        let refused = http.ask("PUT", "/v2/repo/manifests/1", &[], Sent::Whole(&[7; 10_000])).await.is(405);
        assert!(refused.all("connection").is_empty());
    }
}

#[tokio::test]
async fn a_client_that_never_stops_after_a_refusal_is_disconnected() {
    let registry = start_with(Policy::default(), Options::default()).await;
    let mut http = Http::connect(registry.address()).await;
    http.write_head("PUT", "/v2/repo/manifests/1", &["Transfer-Encoding: chunked"]).await;
    let mut chunk = b"100000\r\n".to_vec();
    chunk.resize(chunk.len() + (1 << 20), 7);
    chunk.extend_from_slice(b"\r\n");
    let mut sent = 0;
    while http.stream.write_all(&chunk).await.is_ok() && http.stream.flush().await.is_ok() {
        sent += 1;
        assert!(sent < 200, "{sent} MiB were read");
    }
}

#[tokio::test]
async fn a_stalled_sender_is_ended_and_can_continue() {
    let options = Options::default().timeout(IDLE);
    let registry = start_with(Policy::open(), options).await;
    let mut http = Http::connect(registry.address()).await;
    let at = http.begin("repo").await;
    let began = Instant::now();
    http.write_head("PATCH", &at, &["Content-Length: 1000000"]).await;
    http.stream.write_all(&vec![7; 100_000]).await.unwrap();
    http.stream.flush().await.unwrap();
    let refused = http.read("PATCH").await.is(400);
    assert_eq!(refused.header("connection"), "close");
    assert!(began.elapsed() >= IDLE && began.elapsed() < LONG, "{:?}", began.elapsed());
    timeout(LONG, http.closed()).await.expect("the connection is closed");

    let mut http = Http::connect(registry.address()).await;
    assert_eq!(http.get(&at).await.is(204).header("range"), "0-99999");
    let body = vec![7; 1_000_000];
    let header = "Content-Range: 100000-999999";
    http.ask("PATCH", &at, &[header], Sent::Whole(&body[100_000..])).await.is(202);
    let digest = Digest::of(Algorithm::Sha256, &body);
    http.ask("PUT", &with_query(&at, &format!("digest={digest}")), &[], Sent::Whole(b"")).await.is(201);
}

#[tokio::test]
async fn a_few_bytes_are_no_progress() {
    let registry = start_with(Policy::open(), Options::default().timeout(IDLE)).await;
    let Http { stream, .. } = Http::connect(registry.address()).await;
    let (mut reader, mut writer) = tokio::io::split(stream);
    writer
        .write_all(b"PUT /v2/repo/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        .await
        .unwrap();
    let trickling = async {
        while writer.write_all(b" ").await.is_ok() && writer.flush().await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let mut answer = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut answer);
    let both = async { tokio::join!(trickling, reading) };
    let _ = timeout(LONG, both).await.expect("the connection is closed");
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_sender_that_makes_progress_may_take_its_time() {
    let registry = start_with(Policy::open(), Options::default().timeout(IDLE)).await;
    let mut http = Http::connect(registry.address()).await;
    let at = http.begin("repo").await;
    http.write_head("PATCH", &at, &["Content-Length: 200000"]).await;
    for _ in 0..10 {
        http.stream.write_all(&vec![7; 20_000]).await.unwrap();
        http.stream.flush().await.unwrap();
        sleep(IDLE / 3).await;
    }
    http.read("PATCH").await.is(202);
}

#[tokio::test]
async fn slow_senders_of_large_manifests_do_not_keep_others_from_pushing() {
    let registry = start_with(Policy::open(), Options::default().timeout(IDLE)).await;
    let mut slow = JoinSet::new();
    for _ in 0..32 {
        let mut http = Http::connect(registry.address()).await;
        http.write_head("PUT", "/v2/repo/manifests/slow", &["Content-Length: 4000000"]).await;
        http.stream.write_all(&vec![b' '; 70_000]).await.unwrap();
        http.stream.flush().await.unwrap();
        slow.spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(http.stream);
            let sending = async {
                while writer.write_all(&vec![b' '; 20_000]).await.is_ok() && writer.flush().await.is_ok() {
                    sleep(IDLE / 3).await;
                }
            };
            let mut status = [0; 12];
            tokio::select! {
                read = tokio::io::AsyncReadExt::read_exact(&mut reader, &mut status) => {
                    read.unwrap();
                    assert_eq!(status, *b"HTTP/1.1 400");
                }
                () = sending => {}
            }
        });
    }
    let mut index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[]}}"#);
    index.push_str(&" ".repeat(100_000));
    let header = format!("Content-Type: {INDEX}");
    let mut http = Http::connect(registry.address()).await;
    let header = [&*header];
    let push = http.ask("PUT", "/v2/repo/manifests/1", &header, Sent::Whole(index.as_bytes()));
    timeout(LONG / 2, push).await.expect("it gets a place").is(201);
    timeout(LONG, slow.join_all()).await.expect("the slow ones are disconnected");
}

#[tokio::test]
async fn the_bytes_of_a_body_that_breaks_off_count() {
    let registry = start().await;
    let mut http = Http::connect(registry.address()).await;
    let at = http.begin("repo").await;
    let mut broken = Http::connect(registry.address()).await;
    broken.write_head("PATCH", &at, &["Content-Length: 1000000"]).await;
    broken.stream.write_all(&vec![7; 200_001]).await.unwrap();
    broken.stream.flush().await.unwrap();
    drop(broken);
    let began = Instant::now();
    while http.get(&at).await.is(204).header("range") != "0-200000" {
        assert!(began.elapsed() < LONG);
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_push_in_one_request_that_breaks_off_leaves_no_upload() {
    let mut policy = Policy::open();
    policy.uploads = 1;
    let registry = start_with(policy, Options::default()).await;
    let digest = Digest::of(Algorithm::Sha256, b"");
    for part in [0, 10, 200_000] {
        let mut broken = Http::connect(registry.address()).await;
        let target = format!("/v2/repo/blobs/uploads/?digest={digest}");
        broken.write_head("POST", &target, &["Content-Length: 1000000"]).await;
        broken.stream.write_all(&vec![7; part]).await.unwrap();
        broken.stream.flush().await.unwrap();
        sleep(Duration::from_millis(20)).await;
        drop(broken);
        let mut http = Http::connect(registry.address()).await;
        let began = Instant::now();
        while http.push("repo", b"").await.status != 201 {
            assert!(began.elapsed() < LONG);
            sleep(Duration::from_millis(5)).await;
        }
    }
}

//! What the conformance tests of the specification send, and other clients.

use oci_proto::server::Policy;
use oci_proto::{Algorithm, Digest};
use oci_proto_tokio::server::Options;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{ALGORITHMS, Answer, Http, INDEX, Sent, percent, start, start_with, with_query};

/// A pattern that repeats nowhere.
fn content(size: usize) -> Vec<u8> {
    (0_u32..).flat_map(u32::to_le_bytes).take(size).collect()
}

/// Reads what a response says it has stored.
async fn is_stored(http: &mut Http, created: &Answer, content: &[u8], digest: &Digest) {
    assert_eq!(created.header("docker-content-digest"), digest.to_string());
    let location = created.header("location");
    let read = http.get(location).await.is(200);
    assert!(read.body == content, "{location}: {} bytes", read.body.len());
    let head = http.ask("HEAD", location, &[], Sent::Nothing).await.is(200);
    for answer in [&read, &head] {
        assert_eq!(answer.header("content-length"), content.len().to_string());
        assert_eq!(answer.header("docker-content-digest"), digest.to_string());
        assert!(answer.all("content-encoding").is_empty());
    }
}

#[tokio::test]
async fn a_blob_is_pushed_in_every_way() {
    let registry = start().await;
    let mut http = Http::connect(registry.address()).await;
    for size in [0, 2, 3067, 200_000] {
        for (n, algorithm) in ALGORITHMS.into_iter().enumerate() {
            let repository = format!("conformance/repo{size}x{n}");
            let bytes = content(size);
            let digest = Digest::of(algorithm, &bytes);
            let parameter = format!("digest={}", percent(&digest.to_string()));

            // POST and PUT.
            let at = with_query(&http.begin(&repository).await, &parameter);
            let put = http.ask("PUT", &at, &[], Sent::Whole(&bytes)).await.is(201);
            is_stored(&mut http, &put, &bytes, &digest).await;

            // The same without a length, with as many chunks as there are.
            let at = with_query(&http.begin(&repository).await, &parameter);
            let chunks: Vec<&[u8]> = bytes.chunks(1000).collect();
            let put = http.ask("PUT", &at, &[], Sent::Chunked(&chunks)).await.is(201);
            is_stored(&mut http, &put, &bytes, &digest).await;

            // POST only.
            let target = format!("/v2/{repository}/blobs/uploads/?{parameter}");
            let post = http.ask("POST", &target, &[], Sent::Whole(&bytes)).await.is(201);
            is_stored(&mut http, &post, &bytes, &digest).await;

            // Streamed: a PATCH without Content-Length and Content-Range.
            let at = http.begin(&repository).await;
            let patched = http.ask("PATCH", &at, &[], Sent::Chunked(&chunks)).await.is(202);
            assert_eq!(patched.header("range"), format!("0-{}", size.saturating_sub(1)));
            let at = with_query(patched.header("location"), &parameter);
            let put = http.ask("PUT", &at, &[], Sent::Whole(b"")).await.is(201);
            is_stored(&mut http, &put, &bytes, &digest).await;
        }
    }
    // A PUT without a PATCH and without any framing of a body.
    let empty = Digest::of(Algorithm::Sha256, b"");
    let at = with_query(&http.begin("none").await, &format!("digest={empty}"));
    let put = http.ask("PUT", &at, &[], Sent::Nothing).await.is(201);
    is_stored(&mut http, &put, b"", &empty).await;
}

#[tokio::test]
async fn chunks_arrive_in_order_or_are_refused_and_the_session_lives_on() {
    let registry = start().await;
    let mut http = Http::connect(registry.address()).await;
    let bytes = content(3067);
    let ranges = [0..1024, 1024..2048, 2048..3067];
    for algorithm in ALGORITHMS {
        for last_in_put in [false, true] {
            let digest = Digest::of(algorithm, &bytes);
            let parameter = format!("digest={}", percent(&digest.to_string()));
            let mut at = http.begin("repo").await;
            for (n, range) in ranges.iter().enumerate() {
                let is_last = last_in_put && n == 2;
                let wrong = ranges.get(n + 1).unwrap_or(&ranges[0]);
                let (method, target) =
                    if is_last { ("PUT", with_query(&at, &parameter)) } else { ("PATCH", at.clone()) };
                let header = format!("Content-Range: {}-{}", wrong.start, wrong.end - 1);
                let refused =
                    http.ask(method, &target, &[&header], Sent::Whole(&bytes[wrong.clone()])).await.is(416);
                assert_eq!(refused.header("range"), format!("0-{}", range.start.saturating_sub(1)));

                let status = http.get(&with_query(&at, &parameter)).await.is(204);
                assert_eq!(status.header("range"), format!("0-{}", range.start.saturating_sub(1)));
                at = status.header("location").to_owned();

                let header = format!("Content-Range: {}-{}", range.start, range.end - 1);
                let target = if is_last { with_query(&at, &parameter) } else { at.clone() };
                let taken = http.ask(method, &target, &[&header], Sent::Whole(&bytes[range.clone()])).await;
                if is_last {
                    is_stored(&mut http, &taken.is(201), &bytes, &digest).await;
                } else {
                    let taken = taken.is(202);
                    assert_eq!(taken.header("range"), format!("0-{}", range.end - 1));
                    at = taken.header("location").to_owned();
                }
            }
            if !last_in_put {
                let put = http.ask("PUT", &with_query(&at, &parameter), &[], Sent::Whole(b"")).await.is(201);
                is_stored(&mut http, &put, &bytes, &digest).await;
            }
        }
    }
}

#[tokio::test]
async fn content_with_another_digest_is_refused() {
    let registry = start().await;
    let mut http = Http::connect(registry.address()).await;
    let bytes = content(3067);
    for algorithm in ALGORITHMS {
        let digest = Digest::of(algorithm, b"other content");
        let parameter = format!("digest={}", percent(&digest.to_string()));
        let target = format!("/v2/repo/blobs/uploads/?{parameter}");
        http.ask("POST", &target, &[], Sent::Whole(&bytes)).await.is(400);
        let at = with_query(&http.begin("repo").await, &parameter);
        http.ask("PUT", &at, &[], Sent::Whole(&bytes)).await.is(400);
        let at = http.begin("repo").await;
        http.ask("PATCH", &at, &[], Sent::Chunked(&[&bytes])).await.is(202);
        http.ask("PUT", &with_query(&at, &parameter), &[], Sent::Whole(b"")).await.is(400);
        http.get(&format!("/v2/repo/blobs/{digest}")).await.is(404);
    }
}

#[tokio::test]
async fn blobs_are_mounted() {
    let registry = start().await;
    let mut http = Http::connect(registry.address()).await;
    for (n, algorithm) in ALGORITHMS.into_iter().enumerate() {
        let bytes = content(2000 + n);
        let digest = Digest::of(algorithm, &bytes);
        let encoded = percent(&digest.to_string());
        let target = format!("/v2/conformance/repo2/blobs/uploads/?digest={encoded}");
        http.ask("POST", &target, &[], Sent::Whole(&bytes)).await.is(201);
        // The parameters in any order, encoded or not, and one that the registry does not know.
        for query in [
            format!("from=conformance%2Frepo2&mount={encoded}"),
            format!("mount={digest}&from=conformance/repo2&origin=example.com"),
            format!("mount={encoded}"),
        ] {
            let target = format!("/v2/conformance/repo1/blobs/uploads/?{query}");
            let mounted = http.ask("POST", &target, &[], Sent::Whole(b"")).await.is(201);
            is_stored(&mut http, &mounted, &bytes, &digest).await;
            let at = mounted.header("location").to_owned();
            http.ask("DELETE", &at, &[], Sent::Nothing).await.is(202);
            http.get(&at).await.is(404);
        }
        // Another repository keeps its own, and what is nowhere is uploaded.
        http.get(&format!("/v2/conformance/repo2/blobs/{digest}")).await.is(200);
        let other = content(3000 + n);
        let digest = Digest::of(algorithm, &other);
        let encoded = percent(&digest.to_string());
        let target = format!("/v2/conformance/repo1/blobs/uploads/?from=conformance%2Frepo2&mount={encoded}");
        let begun = http.ask("POST", &target, &[], Sent::Whole(b"")).await.is(202);
        let at = begun.header("location");
        assert!(!at.contains("mount"), "{at}");
        let at = with_query(at, &format!("digest={encoded}"));
        let put = http.ask("PUT", &at, &[], Sent::Whole(&other)).await.is(201);
        is_stored(&mut http, &put, &other, &digest).await;
    }
}

#[tokio::test]
async fn an_upload_is_cancelled() {
    let registry = start().await;
    let mut http = Http::connect(registry.address()).await;
    for part in [&b""[..], b"part"] {
        let at = http.begin("repo").await;
        http.ask("PATCH", &at, &[], Sent::Whole(part)).await.is(202);
        http.ask("DELETE", &at, &[], Sent::Nothing).await.is(204);
        http.get(&at).await.is(404);
        http.ask("PATCH", &at, &[], Sent::Whole(b"part")).await.is(404);
        http.ask("DELETE", &at, &[], Sent::Whole(b"")).await.is(404);
    }
}

#[tokio::test]
async fn manifests_are_pushed_without_a_length() {
    let registry = start().await;
    let mut http = Http::connect(registry.address()).await;
    let large = "x".repeat(10_000);
    let annotations: Vec<String> = (0..390).map(|n| format!("\"{n}\":\"{large}\"")).collect();
    for annotations in [&annotations[..0], &annotations[..7], &annotations] {
        let annotations = annotations.join(",");
        let document = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[],\"unknown\":{{}},\"annotations\":{{{annotations}}}}}"
        );
        let bytes = document.as_bytes();
        for algorithm in ALGORITHMS {
            let digest = Digest::of(algorithm, bytes);
            for name in [digest.to_string(), "a-tag".to_owned()] {
                let digest =
                    if name == "a-tag" { Digest::of(Algorithm::Sha256, bytes) } else { digest.clone() };
                let target = format!("/v2/conformance/repo1/manifests/{name}");
                let content_type = format!("Content-Type: {INDEX}");
                let chunks: Vec<&[u8]> = bytes.chunks(40_000).collect();
                let put = http.ask("PUT", &target, &[&content_type], Sent::Chunked(&chunks)).await.is(201);
                is_stored(&mut http, &put, bytes, &digest).await;
                let accept = [
                    "Accept: application/vnd.oci.image.index.v1+json",
                    "Accept: application/vnd.oci.image.manifest.v1+json",
                    "Accept-Encoding: gzip",
                ];
                let read = http.ask("GET", &target, &accept, Sent::Nothing).await.is(200);
                assert_eq!(read.header("content-type"), INDEX);
                assert!(read.body == bytes && read.all("content-encoding").is_empty());
            }
        }
    }
}

#[tokio::test]
async fn wrong_manifests_are_refused() {
    let registry = start().await;
    let mut http = Http::connect(registry.address()).await;
    let index = format!("{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[]}}");
    for algorithm in ALGORITHMS {
        let other = Digest::of(algorithm, b"other");
        let target = format!("/v2/repo/manifests/{other}");
        http.ask("PUT", &target, &[], Sent::Chunked(&[index.as_bytes()])).await.is(400);
        http.get(&target).await.is(404);
    }
    let target = "/v2/repo/manifests/sha256:baddigeststring";
    http.ask("PUT", target, &[], Sent::Chunked(&[index.as_bytes()])).await.is(400);
    let status = http.get(target).await.status;
    assert!([400, 404].contains(&status), "{status}");
    http.get("/v2/repo/manifests/unknown").await.is(404);
    http.ask("PUT", "/v2/repo/manifests/tag", &[], Sent::Chunked(&[b"no manifest"])).await.is(400);
}

#[tokio::test]
async fn subjects_and_tags_are_confirmed() {
    let registry = start().await;
    let mut http = Http::connect(registry.address()).await;
    let subject = Digest::of(Algorithm::Sha256, b"missing");
    let document = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[],\"artifactType\":\"a/b+json\",\
         \"subject\":{{\"mediaType\":\"{INDEX}\",\"digest\":\"{subject}\",\"size\":7}}}}"
    );
    for algorithm in ALGORITHMS {
        let digest = Digest::of(algorithm, document.as_bytes());
        let target = format!("/v2/repo/manifests/{digest}?tag=a&tag=b");
        let put = http.ask("PUT", &target, &[], Sent::Chunked(&[document.as_bytes()])).await.is(201);
        assert_eq!(put.header("oci-subject"), subject.to_string());
        assert_eq!(put.all("oci-tag"), ["a", "b"]);
        for tag in ["a", "b"] {
            let read = http.get(&format!("/v2/repo/manifests/{tag}")).await.is(200);
            assert_eq!(read.header("docker-content-digest"), digest.to_string());
        }
        let target = format!("/v2/repo/referrers/{subject}?artifactType=a%2Fb%2Bjson");
        let listed = http.get(&target).await.is(200);
        assert_eq!(listed.header("oci-filters-applied"), "artifactType");
        assert!(String::from_utf8(listed.body).unwrap().contains(&digest.to_string()));
        let target = format!("/v2/repo/manifests/{digest}");
        http.ask("DELETE", &target, &[], Sent::Nothing).await.is(202);
        http.get("/v2/repo/manifests/a").await.is(404);
    }
}

#[tokio::test]
async fn a_client_that_expects_100_continue_is_told_whether_to_send() {
    let registry = start().await;
    let bytes = content(100_000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let length = format!("Content-Length: {}", bytes.len());
    let headers = ["Expect: 100-continue", &*length];

    let mut http = Http::connect(registry.address()).await;
    let at = with_query(&http.begin("repo").await, &format!("digest={digest}"));
    http.write_head("PUT", &at, &headers).await;
    // Nothing is sent before this.
    let mut interim = [0; 25];
    http.stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    http.stream.write_all(&bytes).await.unwrap();
    http.stream.flush().await.unwrap();
    let put = http.read("PUT").await.is(201);
    is_stored(&mut http, &put, &bytes, &digest).await;

    let begun = http.begin("repo").await;
    for (method, target, extra, status) in [
        ("PATCH", &*begun, "Content-Range: 7-100006", 416),
        ("PUT", "/v2/repo/blobs/uploads/unknown?digest=sha256:bad", "X: y", 400),
        ("PATCH", "/v2/repo/blobs/uploads/00000000000000000000000000000000", "X: y", 404),
    ] {
        for sends_all_the_same in [false, true] {
            let mut http = Http::connect(registry.address()).await;
            http.write_head(method, target, &[headers[0], headers[1], extra]).await;
            if sends_all_the_same {
                http.stream.write_all(&bytes).await.unwrap();
                http.stream.flush().await.unwrap();
            }
            let refused = http.read(method).await.is(status);
            assert_eq!(refused.interim, [0_u16; 0]);
            assert_eq!(refused.header("connection"), "close");
        }
    }

    // Of a manifest, too.
    let closed = Policy::default();
    let registry = start_with(closed, Options::default()).await;
    let mut http = Http::connect(registry.address()).await;
    http.write_head("PUT", "/v2/repo/manifests/1", &headers).await;
    let refused = http.read("PUT").await.is(405);
    assert_eq!(refused.interim, [0_u16; 0]);
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_answered_as_one_that_is_empty() {
    let registry = start().await;
    let mut http = Http::connect(registry.address()).await;
    http.get("/v2/").await.is(200);
    let status = http.get("/v2/nothing/tags/list").await.status;
    assert!([200, 404].contains(&status), "{status}");
    let digest = Digest::of(Algorithm::Sha512, b"");
    let referrers = http.get(&format!("/v2/nothing/referrers/{digest}")).await.is(200);
    assert_eq!(referrers.header("content-type"), INDEX);
    http.get(&format!("/v2/nothing/blobs/{digest}")).await.is(404);
}

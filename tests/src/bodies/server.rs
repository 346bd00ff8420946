//! The body of the fuzz target `server`.

use std::sync::LazyLock;

use http::{Method, Request};
use oci_proto::server::{Body, Memory, Server};

static SAMPLE: LazyLock<Server> = LazyLock::new(|| {
    let (memory, root) = Memory::sample();
    let repository = "demo/sample".parse().expect("a repository's name");
    let tag = "latest".parse().expect("a tag");
    let mut server = Server::new();
    server.add(&repository, Some(&tag), &root, &memory).expect("the sample is complete");
    server
});

/// Every request gets a well-formed response: a known status, the specified error body with each refusal, and
/// a body of the length in its head.
///
/// The input is the head of a request: a line with method and target, and a line for each header except Host.
pub fn server(data: &[u8]) {
    let Some(request) = parse(data) else { return };
    let (head, ()) = request.into_parts();
    let response = SAMPLE.respond(&head);

    let status = response.status().as_u16();
    assert!([200, 206, 304, 400, 404, 405, 412, 416].contains(&status), "unexpected status {status}");
    let text = |name: &str| {
        response.headers().get(name).map(|value| value.to_str().expect("header values are text"))
    };
    assert_eq!(text("docker-distribution-api-version"), Some("registry/2.0"));
    let length = text("content-length").map(|length| length.parse::<u64>().expect("a number of bytes"));
    assert_eq!(length.is_none(), status == 304, "only 304 has no Content-Length");
    if head.method == Method::HEAD || status == 304 {
        assert_eq!(response.body().size(), 0, "HEAD and 304 have no body");
    } else {
        assert_eq!(length, Some(response.body().size()), "Content-Length is the body's length");
    }
    assert_eq!(text("allow"), (status == 405).then_some("GET, HEAD"));

    if status >= 400 && head.method != Method::HEAD {
        let Body::Bytes(body) = response.body() else { panic!("{status} without an error body") };
        let body: serde_json::Value = serde_json::from_slice(body).expect("an error body is JSON");
        let errors = body["errors"].as_array().expect("an error body has errors");
        assert!(!errors.is_empty(), "an error body has an error");
        for error in errors {
            let code = error["code"].as_str().expect("an error has a code");
            assert!(!code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{code}");
            assert!(error["message"].is_string(), "an error has a message");
        }
    }
    match (status, text("content-range"), response.body()) {
        (206, Some(shown), Body::Blob { range, .. }) => {
            assert_eq!(head.method, Method::GET, "ranges apply to GET only");
            assert!(range.start < range.end, "206 has bytes");
            let (part, size) = shown.split_once('/').expect("Content-Range has a size");
            assert_eq!(part, format!("bytes {}-{}", range.start, range.end - 1));
            assert!(range.end <= size.parse().expect("a number of bytes"), "the range ends within the blob");
        }
        (416, Some(shown), _) => assert!(shown.starts_with("bytes */"), "{shown}"),
        (206 | 416, ..) => panic!("{status} without a Content-Range"),
        (_, shown, _) => assert_eq!(shown, None, "{status} with a Content-Range"),
    }
}

fn parse(data: &[u8]) -> Option<Request<()>> {
    let mut lines = data.split(|b| *b == b'\n');
    let (method, target) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(target).header("host", "x");
    for line in lines.filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|b| *b == b':')?;
        let (name, value) = line.split_at(colon);
        request = request.header(name, value.strip_prefix(b":")?.trim_ascii());
    }
    request.body(()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_request_gets_a_well_formed_response() {
        let nowhere = format!("sha256:{}", "0".repeat(64));
        // The digest of the sample's empty config.
        let there = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        for (request, status) in [
            ("GET /v2/".to_owned(), 200),
            ("GET /v2/demo/sample/manifests/latest\nIf-None-Match: *".to_owned(), 304),
            ("GET /v2/demo/sample/manifests/latest\nIf-Match: \"x\"".to_owned(), 412),
            (format!("GET /v2/demo%2Fsample/blobs/{there}\nRange: bytes=1-"), 206),
            (format!("GET /v2/demo/sample/blobs/{there}\nRange: bytes=2-"), 416),
            (format!("HEAD /v2/demo/sample/blobs/{there}\nRange: bytes=1-"), 200),
            (format!("GET /v2/demo/sample/blobs/{nowhere}"), 404),
            ("GET /v2/Demo/tags/list".to_owned(), 400),
            ("GET /v2/demo/sample/tags/list?n=1".to_owned(), 200),
            (format!("GET /v2/demo/sample/referrers/{there}?artifactType=a/b"), 200),
            ("DELETE /v2/demo/sample/manifests/latest".to_owned(), 405),
            ("OPTIONS *".to_owned(), 405),
            ("GET /v2/\nHost: y".to_owned(), 400),
            (format!("GET /v2/nowhere/referrers/{there}"), 200),
            (format!("GET /v2/demo/sample/blobs/{there}\nRange: bytes=1-0"), 416),
        ] {
            server(request.as_bytes());
            let (head, ()) = parse(request.as_bytes()).expect("a request").into_parts();
            assert_eq!(SAMPLE.respond(&head).status(), status, "{request}");
        }
        for noise in ["", "\n", "GET", "GET \u{0}", "GET /v2/\n:", "GET /v2/\nRange: \u{7f}"] {
            server(noise.as_bytes());
        }
    }
}

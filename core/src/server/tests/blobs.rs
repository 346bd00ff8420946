//! Uploads of blobs.

use std::time::Duration;

use http::Method;
use http::header::RANGE;

use crate::server::policy::Policy;
use crate::server::tests::{Answered, Scenario, assert_error, percent, with_query};
use crate::types::digest::{Algorithm, Digest};
use crate::types::time::Time;

const CONTENT: &[u8] = b"0123456789abcdef";

/// Checks that a blob was created, and can be read from its location.
#[track_caller]
fn assert_created(scenario: &mut Scenario, created: &Answered, digest: &Digest, content: &[u8]) {
    assert_eq!(created.status(), 201, "{:?}", created.body());
    assert_eq!(created.header("docker-content-digest"), Some(&*digest.to_string()));
    let read = scenario.get(&created.location());
    assert_eq!((read.status(), read.body().as_ref()), (200, content));
    let head = scenario.send(&Method::HEAD, &created.location(), b"");
    assert_eq!(head.header("content-length"), Some(&*content.len().to_string()));
    assert_eq!(head.header("docker-content-digest"), Some(&*digest.to_string()));
}

#[test]
fn a_blob_is_pushed_in_every_way_with_every_algorithm() {
    let mut scenario = Scenario::new();
    for algorithm in Algorithm::ALL {
        let digest = Digest::of(algorithm, CONTENT);
        let close = format!("digest={}", percent(&digest.to_string()));
        let blob = format!("/v2/team/app/blobs/{digest}");
        let uploads = "/v2/team/app/blobs/uploads/";
        assert_error(
            &scenario.get(&blob),
            404,
            if algorithm == Algorithm::Sha256 { "NAME_UNKNOWN" } else { "BLOB_UNKNOWN" },
        );

        // In one request.
        let created = scenario.send(&Method::POST, &format!("{uploads}?{close}"), CONTENT);
        assert_created(&mut scenario, &created, &digest, CONTENT);
        assert_eq!(scenario.delete(&blob).status(), 202);
        assert_error(&scenario.get(&blob), 404, "BLOB_UNKNOWN");

        // In the request that closes the upload.
        let location = scenario.begin("team/app");
        let created = scenario.send(&Method::PUT, &with_query(&location, &close), CONTENT);
        assert_created(&mut scenario, &created, &digest, CONTENT);
        assert_error(&scenario.get(&location), 404, "BLOB_UPLOAD_UNKNOWN");

        // As a stream, without Content-Range.
        let location = scenario.begin("team/app");
        let streamed = scenario.send(&Method::PATCH, &location, CONTENT);
        assert_eq!((streamed.status(), streamed.header("range")), (202, Some("0-15")));
        let created = scenario.send(&Method::PUT, &with_query(&streamed.location(), &close), b"");
        assert_created(&mut scenario, &created, &digest, CONTENT);

        // In chunks, of which the request that closes has the last or none.
        for last_is_put in [false, true] {
            let mut location = scenario.begin("team/app");
            for (range, chunk) in [("0-5", 0..6), ("6-11", 6..12), ("12-15", 12..16)] {
                if last_is_put && chunk.end == 16 {
                    break;
                }
                let sent =
                    scenario.ask("PATCH", &location, &[("content-range", range)], &CONTENT[chunk.clone()]);
                assert_eq!(sent.status(), 202);
                assert_eq!(sent.header("range"), Some(&*format!("0-{}", chunk.end - 1)));
                location = sent.location();
            }
            let target = with_query(&location, &close);
            let created = if last_is_put {
                scenario.ask("PUT", &target, &[("content-range", "12-15")], &CONTENT[12..])
            } else {
                scenario.send(&Method::PUT, &target, b"")
            };
            assert_created(&mut scenario, &created, &digest, CONTENT);
        }
    }
}

#[test]
fn an_empty_blob_is_pushed_in_every_way() {
    for algorithm in Algorithm::ALL {
        for content in [&b""[..], b"{}"] {
            let mut scenario = Scenario::new();
            let digest = Digest::of(algorithm, content);
            let location = scenario.begin("a");
            let created =
                scenario.send(&Method::PUT, &with_query(&location, &format!("digest={digest}")), content);
            assert_created(&mut scenario, &created, &digest, content);
            assert_eq!(scenario.delete(&created.location()).status(), 202);
            let created =
                scenario.send(&Method::POST, &format!("/v2/a/blobs/uploads/?digest={digest}"), content);
            assert_created(&mut scenario, &created, &digest, content);
        }
    }
}

#[test]
fn a_chunk_at_another_position_is_refused_and_the_upload_goes_on() {
    let mut scenario = Scenario::new();
    let digest = Digest::of(Algorithm::Sha512, CONTENT);
    let mut location = scenario.begin("a");
    let close = format!("digest={}", percent(&digest.to_string()));
    for (size, wrong, right) in [(0, "1-6", "0-5"), (6, "12-17", "6-11"), (12, "0-5", "12-15")] {
        let closing = with_query(&location, &close);
        for (method, target) in [("PATCH", &location), ("PUT", &closing)] {
            let refused = scenario.ask(method, target, &[("content-range", wrong)], &CONTENT[..6]);
            assert_error(&refused, 416, "BLOB_UPLOAD_INVALID");
            let stored = format!("0-{}", if size == 0 { 0 } else { size - 1 });
            assert_eq!(refused.header("range"), Some(&*stored));
            assert_eq!(refused.location(), location);
            // The runner of the conformance suite leaves the digest in the URL.
            let status = scenario.get(target);
            assert_eq!((status.status(), status.header("range")), (204, Some(&*stored)));
            assert_eq!((status.location(), status.body().len()), (location.clone(), 0));
            assert_eq!(status.header("content-length"), None);
        }
        let end = if size == 12 { 16 } else { size + 6 };
        let sent = scenario.ask("PATCH", &location, &[("content-range", right)], &CONTENT[size..end]);
        assert_eq!(sent.status(), 202);
        location = sent.location();
    }
    let created = scenario.send(&Method::PUT, &with_query(&location, &close), b"");
    assert_created(&mut scenario, &created, &digest, CONTENT);
}

#[test]
fn content_of_another_digest_is_refused_and_its_upload_ends() {
    for algorithm in Algorithm::ALL {
        let mut scenario = Scenario::new();
        let digest = Digest::of(algorithm, b"other");
        let close = format!("digest={digest}");
        let refused = scenario.send(&Method::POST, &format!("/v2/a/blobs/uploads/?{close}"), CONTENT);
        assert_error(&refused, 400, "DIGEST_INVALID");
        for in_chunks in [false, true] {
            let location = scenario.begin("a");
            let (first, rest) = CONTENT.split_at(if in_chunks { 7 } else { 0 });
            assert_eq!(scenario.send(&Method::PATCH, &location, first).status(), 202);
            let refused = scenario.send(&Method::PUT, &with_query(&location, &close), rest);
            assert_error(&refused, 400, "DIGEST_INVALID");
            assert_error(&scenario.get(&location), 404, "BLOB_UPLOAD_UNKNOWN");
        }
        let absent = scenario.get(&format!("/v2/a/blobs/{digest}"));
        assert_eq!(absent.status(), 404);
    }
}

#[test]
fn an_upload_may_announce_its_algorithm() {
    let mut scenario = Scenario::new();
    let begun = scenario.send(&Method::POST, "/v2/a/blobs/uploads/?digest-algorithm=sha512", b"");
    assert_eq!(scenario.send(&Method::PATCH, &begun.location(), CONTENT).status(), 202);
    // Another one closes it all the same.
    let digest = Digest::of(Algorithm::Sha256, CONTENT);
    let created =
        scenario.send(&Method::PUT, &with_query(&begun.location(), &format!("digest={digest}")), b"");
    assert_created(&mut scenario, &created, &digest, CONTENT);
    let unknown = scenario.send(&Method::POST, "/v2/a/blobs/uploads/?digest-algorithm=md5", b"");
    assert_error(&unknown, 400, "DIGEST_INVALID");
}

#[test]
fn a_request_that_cannot_close_an_upload_says_why() {
    let mut scenario = Scenario::new();
    let location = scenario.begin("a");
    for query in ["", "digest=", "digest=sha256:bad", "digest=md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let refused = scenario.send(&Method::PUT, &with_query(&location, query), CONTENT);
        assert_error(&refused, 400, "DIGEST_INVALID");
    }
    for range in ["bytes 0-15/16", "0", "5-4", "a-b", "0-18446744073709551615", "-1"] {
        let refused = scenario.ask("PATCH", &location, &[("content-range", range)], CONTENT);
        assert_error(&refused, 400, "BLOB_UPLOAD_INVALID");
    }
    // The body has fewer bytes than Content-Range.
    for headers in [&[("content-range", "0-16")][..], &[("content-range", "0-16"), ("content-length", "16")]]
    {
        assert_error(&scenario.ask("PATCH", &location, headers, CONTENT), 400, "SIZE_INVALID");
    }
    // The upload is as it was, and the bytes of refused requests do not count.
    let digest = Digest::of(Algorithm::Sha256, CONTENT);
    let created = scenario.send(&Method::PUT, &with_query(&location, &format!("digest={digest}")), CONTENT);
    assert_created(&mut scenario, &created, &digest, CONTENT);
}

#[test]
fn a_blob_is_mounted_from_a_repository_or_from_any() {
    for algorithm in Algorithm::ALL {
        let mut scenario = Scenario::new();
        let digest = Digest::of(algorithm, CONTENT);
        let pushed =
            scenario.send(&Method::POST, &format!("/v2/a/b/blobs/uploads/?digest={digest}"), CONTENT);
        assert_eq!(pushed.status(), 201);
        let encoded = percent(&digest.to_string());
        for (target, query) in [
            ("one", format!("from=a%2Fb&mount={encoded}")),
            ("two", format!("mount={digest}&from=a/b&origin=registry.example")),
            ("three", format!("mount={encoded}")),
        ] {
            let mounted = scenario.send(&Method::POST, &format!("/v2/{target}/blobs/uploads/?{query}"), b"");
            assert_created(&mut scenario, &mounted, &digest, CONTENT);
            assert!(mounted.location().starts_with(&format!("/v2/{target}/")));
        }
        // The others keep it.
        assert_eq!(scenario.delete(&format!("/v2/a/b/blobs/{digest}")).status(), 202);
        assert_eq!(scenario.get(&format!("/v2/one/blobs/{digest}")).body(), CONTENT);
        // A mount that is not possible begins an upload, whose location does not have the parameters.
        let begun =
            scenario.send(&Method::POST, &format!("/v2/x/blobs/uploads/?mount={digest}&from=a/b"), b"");
        assert_eq!((begun.status(), begun.location().contains("mount")), (202, false));
        let created =
            scenario.send(&Method::PUT, &with_query(&begun.location(), &format!("digest={digest}")), CONTENT);
        assert_created(&mut scenario, &created, &digest, CONTENT);
    }
}

#[test]
fn a_cancelled_upload_is_gone() {
    let mut scenario = Scenario::new();
    let location = scenario.begin("a");
    assert_eq!(scenario.send(&Method::PATCH, &location, CONTENT).status(), 202);
    let cancelled = scenario.delete(&location);
    assert_eq!((cancelled.status(), cancelled.header("content-length")), (204, None));
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        assert_error(&scenario.send(&method, &location, b""), 404, "BLOB_UPLOAD_UNKNOWN");
    }
    // An upload belongs to its repository.
    let other = scenario.begin("a").replace("/v2/a/", "/v2/b/");
    assert_error(&scenario.get(&other), 404, "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn an_upload_begins_without_the_last_slash_too() {
    let mut scenario = Scenario::new();
    let begun = scenario.send(&Method::POST, "/v2/a/blobs/uploads", b"");
    assert_eq!(begun.status(), 202);
    assert!(begun.location().starts_with("/v2/a/blobs/uploads/"), "{begun:?}");
    let digest = Digest::of(Algorithm::Sha256, b"abc");
    let whole = scenario.send(&Method::POST, &format!("/v2/a/blobs/uploads?digest={digest}"), b"abc");
    assert_eq!(whole.status(), 201);
    let read = scenario.get("/v2/a/blobs/uploads");
    assert_eq!((read.status(), read.header("allow")), (405, Some("POST")));
}

#[test]
fn an_upload_without_requests_expires() {
    let mut scenario = Scenario::with(Policy { uploads: 2, ..Policy::open() });
    let (first, second) = (scenario.begin("a"), scenario.begin("b"));
    let refused = scenario.send(&Method::POST, "/v2/a/blobs/uploads/", b"");
    assert_error(&refused, 429, "TOOMANYREQUESTS");
    assert_eq!(refused.header("retry-after"), Some("1"));
    scenario.now = Time::from_epoch(Duration::from_secs(3599));
    scenario.registry.expire_uploads(scenario.now);
    assert_eq!(scenario.send(&Method::PATCH, &second, CONTENT).status(), 202);
    scenario.now = Time::from_epoch(Duration::from_secs(3600));
    scenario.registry.expire_uploads(scenario.now);
    assert_error(&scenario.get(&first), 404, "BLOB_UPLOAD_UNKNOWN");
    assert_eq!(scenario.get(&second).status(), 204);
    scenario.begin("a");
}

#[test]
fn a_blob_may_not_be_larger_than_the_limit() {
    let mut scenario = Scenario::with(Policy { blob_bytes: 10, ..Policy::open() });
    let location = scenario.begin("a");
    let digest = Digest::of(Algorithm::Sha256, CONTENT);
    let whole = format!("/v2/a/blobs/uploads/?digest={digest}");
    for headers in [&[][..], &[("content-length", "16")]] {
        assert_error(&scenario.ask("PATCH", &location, headers, CONTENT), 413, "SIZE_INVALID");
        assert_error(&scenario.ask("POST", &whole, headers, CONTENT), 413, "SIZE_INVALID");
    }
    assert_eq!(scenario.send(&Method::PATCH, &location, &CONTENT[..6]).status(), 202);
    assert_error(&scenario.send(&Method::PATCH, &location, &CONTENT[6..]), 413, "SIZE_INVALID");
    let status = scenario.get(&location);
    assert_eq!(status.header("range"), Some("0-5"));
    assert_eq!(scenario.send(&Method::PATCH, &location, &CONTENT[6..10]).status(), 202);
}

#[test]
fn a_chunk_has_a_minimum_size_where_that_is_configured() {
    let mut scenario = Scenario::with(Policy { min_chunk: std::num::NonZeroU64::new(8), ..Policy::open() });
    let begun = scenario.send(&Method::POST, "/v2/a/blobs/uploads/", b"");
    assert_eq!(begun.header("oci-chunk-min-length"), Some("8"));
    assert!(begun.header("docker-upload-uuid").is_some());
}

#[test]
fn parts_of_a_blob_are_read() {
    let mut scenario = Scenario::new();
    let content: Vec<u8> = (0..2048_u32).map(|n| n.to_le_bytes()[0]).collect();
    let digest = scenario.push_blob("a", &content);
    for (range, expected) in [
        ("bytes=500-1499", Some(500..1500)),
        ("bytes=500-", Some(500..2048)),
        ("bytes=-500", Some(1548..2048)),
        ("bytes=2000-5000", Some(2000..2048)),
        ("bytes=5000-10000", None),
        ("bytes=500-0", None),
    ] {
        let read = scenario.ask("GET", &format!("/v2/a/blobs/{digest}"), &[(RANGE.as_str(), range)], b"");
        let Some(expected) = expected else {
            assert_eq!(read.status(), 416, "{range}");
            continue;
        };
        assert_eq!((read.status(), read.body().as_ref()), (206, &content[expected.clone()]), "{range}");
        let shown = format!("bytes {}-{}/2048", expected.start, expected.end - 1);
        assert_eq!(read.header("content-range"), Some(&*shown));
    }
}

#[test]
fn an_upload_of_an_old_location_goes_on() {
    let mut scenario = Scenario::new();
    let location = scenario.begin("a");
    for chunk in CONTENT.chunks(4) {
        assert_eq!(scenario.send(&Method::PATCH, &location, chunk).status(), 202);
    }
    let digest = Digest::of(Algorithm::Sha256, CONTENT);
    let created = scenario.send(&Method::PUT, &with_query(&location, &format!("digest={digest}")), b"");
    assert_created(&mut scenario, &created, &digest, CONTENT);
}

use http::Version;
use http::header::{ALLOW, HOST, IF_MATCH, IF_NONE_MATCH, IF_RANGE, TRANSFER_ENCODING};
use proptest::prelude::*;
use serde_json::Value;

use crate::server::content::Content as _;
use crate::server::machine::Server;
use crate::server::memory::{Flavour, Memory};
use crate::server::respond::*;
use crate::types::descriptor::Descriptor;
use crate::types::digest::Algorithm;

mod lists;

const LAYER: &[u8] = b"0123456789";

/// A server with one image, tagged `v1` in `a/b`.
struct Scenario {
    server: Server,
    memory: Memory,
    image: Descriptor,
    layer: Digest,
}

impl Scenario {
    fn new() -> Self {
        let mut memory = Memory::new();
        let image = memory.add_image(Flavour::OCI, None, &[LAYER]);
        let layer = Digest::of(Algorithm::Sha256, LAYER);
        let mut scenario = Self { server: Server::new(), memory, image: image.clone(), layer };
        scenario.add("a/b", Some("v1"), &image);
        scenario
    }

    fn add(&mut self, repository: &str, tag: Option<&str>, root: &Descriptor) {
        let tag = tag.map(|tag| tag.parse().unwrap());
        self.server.add(&repository.parse().unwrap(), tag.as_ref(), root, &self.memory).unwrap();
    }

    fn ask(&self, method: Method, target: &str, headers: &[(HeaderName, &str)]) -> Response<Body> {
        let mut request = http::Request::builder().method(method).uri(target).header(HOST, "registry:5000");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.server.respond(&request.body(()).unwrap().into_parts().0)
    }

    fn get(&self, target: &str) -> Response<Body> {
        self.ask(Method::GET, target, &[])
    }

    fn get_layer(&self, headers: &[(HeaderName, &str)]) -> Response<Body> {
        self.ask(Method::GET, &format!("/v2/a/b/blobs/{}", self.layer), headers)
    }

    fn layer_bytes(&self, range: std::ops::Range<u64>) -> Body {
        Body::Blob { digest: self.layer.clone(), range }
    }
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

fn json_of(response: &Response<Body>) -> Value {
    match response.body() {
        Body::Bytes(bytes) => serde_json::from_slice(bytes).unwrap(),
        other => panic!("{other:?} is not JSON"),
    }
}

fn error_of(response: &Response<Body>) -> (u16, String) {
    let code = json_of(response)["errors"][0]["code"].as_str().unwrap().to_owned();
    (response.status().as_u16(), code)
}

#[test]
fn the_version_check_succeeds_with_and_without_the_slash() {
    let scenario = Scenario::new();
    for target in ["/v2/", "/v2"] {
        let response = scenario.get(target);
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "docker-distribution-api-version"), Some("registry/2.0"));
        assert_eq!(json_of(&response), json!({}));
    }
}

#[test]
fn a_manifest_is_served_verbatim_by_tag_and_by_digest() {
    let scenario = Scenario::new();
    let digest = scenario.image.digest.to_string();
    for reference in ["v1", &digest] {
        let response = scenario.get(&format!("/v2/a/b/manifests/{reference}"));
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "content-type"), Some(MediaType::OCI_MANIFEST.as_str()));
        assert_eq!(header(&response, "content-length"), Some(&*scenario.image.size.to_string()));
        assert_eq!(header(&response, "docker-content-digest"), Some(&*digest));
        assert_eq!(header(&response, "etag"), Some(&*format!("\"{digest}\"")));
        let bytes = scenario.memory.bytes(&scenario.image.digest).unwrap();
        assert_eq!(response.body(), &Body::Bytes(bytes));
    }
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let scenario = Scenario::new();
    let layer = format!("/v2/a/b/blobs/{}", scenario.layer);
    for target in ["/v2/", "/v2/a/b/manifests/v1", "/v2/a/b/tags/list", &layer, "/v2/none/manifests/v1"] {
        let (get, head) = (scenario.get(target), scenario.ask(Method::HEAD, target, &[]));
        assert_eq!(get.status(), head.status(), "{target}");
        assert_eq!(get.headers(), head.headers(), "{target}");
        match (get.body(), head.body()) {
            // The adapter has to confirm that the blob is there.
            (Body::Blob { digest, range }, head) => {
                let range = range.end..range.end;
                assert_eq!(head, &Body::Blob { digest: digest.clone(), range }, "{target}");
            }
            (_, head) => assert_eq!(head, &Body::Empty, "{target}"),
        }
        assert_eq!(header(&head, "content-length"), Some(&*get.body().size().to_string()), "{target}");
    }
}

#[test]
fn a_blob_response_tells_the_adapter_what_to_send() {
    let scenario = Scenario::new();
    let response = scenario.get_layer(&[]);
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-length"), Some("10"));
    assert_eq!(header(&response, "accept-ranges"), Some("bytes"));
    assert_eq!(header(&response, "content-type"), Some("application/octet-stream"));
    assert_eq!(header(&response, "docker-content-digest"), Some(&*scenario.layer.to_string()));
    assert_eq!(response.body(), &scenario.layer_bytes(0..10));
}

#[test]
fn a_range_of_a_blob_is_partial_content() {
    let scenario = Scenario::new();
    for (range, shown, bytes) in [
        ("bytes=4-", "bytes 4-9/10", 4..10),
        ("bytes=0-0", "bytes 0-0/10", 0..1),
        ("bytes=-3", "bytes 7-9/10", 7..10),
        ("bytes=8-100", "bytes 8-9/10", 8..10),
    ] {
        let response = scenario.get_layer(&[(RANGE, range)]);
        assert_eq!(response.status(), 206, "{range}");
        assert_eq!(header(&response, "content-range"), Some(shown));
        assert_eq!(header(&response, "content-length"), Some(&*(bytes.end - bytes.start).to_string()));
        assert_eq!(response.body(), &scenario.layer_bytes(bytes));
    }
}

#[test]
fn a_range_beyond_the_end_or_in_the_wrong_order_is_not_satisfiable() {
    for range in ["bytes=10-", "bytes=9-2", "bytes=500-0"] {
        let response = Scenario::new().get_layer(&[(RANGE, range)]);
        assert_eq!(error_of(&response), (416, "RANGE_INVALID".into()), "{range}");
        assert_eq!(header(&response, "content-range"), Some("bytes */10"), "{range}");
    }
}

#[test]
fn no_transfer_coding_but_chunked_is_supported() {
    let scenario = Scenario::new();
    let ask = |codings: &[&str]| {
        let headers: Vec<_> = codings.iter().map(|coding| (TRANSFER_ENCODING, *coding)).collect();
        scenario.ask(Method::GET, "/v2/", &headers)
    };
    for codings in [&[][..], &["chunked"], &["Chunked "], &[", chunked"]] {
        assert_eq!(ask(codings).status(), 200, "{codings:?}");
    }
    for codings in [&["gzip, chunked"][..], &["gzip", "chunked"], &["chunked,chunked"], &["gzip"]] {
        assert_eq!(error_of(&ask(codings)), (501, "UNSUPPORTED".into()), "{codings:?}");
    }
}

#[test]
fn http_1_1_requires_exactly_one_valid_host() {
    let scenario = Scenario::new();
    let status = |version, hosts: &[&str]| {
        let mut request = http::Request::get("/v2/").version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let response = scenario.server.respond(&request.body(()).unwrap().into_parts().0);
        if response.status() != 200 {
            assert_eq!(error_of(&response), (400, "UNSUPPORTED".into()), "{hosts:?}");
        }
        response.status().as_u16()
    };
    for host in ["", "x", "x:80", "127.0.0.1:5000", "[::1]:5000"] {
        assert_eq!(status(Version::HTTP_11, &[host]), 200, "{host}");
    }
    for hosts in [&[][..], &["x", "x"], &["x", "y"], &["x y"], &["u@x"], &["x/y"], &["x, y"]] {
        assert_eq!(status(Version::HTTP_11, hosts), 400, "{hosts:?}");
    }
    // HTTP/1.0 has no Host, and HTTP/2 has an authority.
    for version in [Version::HTTP_10, Version::HTTP_2] {
        assert_eq!([status(version, &[]), status(version, &["x", "x"])], [200, 400], "{version:?}");
    }
}

#[test]
fn head_malformed_ranges_and_several_ranges_select_the_whole() {
    let scenario = Scenario::new();
    for range in ["bytes=0-1,3-4", "bytes=9-x", "pages=1-2"] {
        let response = scenario.get_layer(&[(RANGE, range)]);
        assert_eq!((response.status().as_u16(), response.body()), (200, &scenario.layer_bytes(0..10)));
    }
    let response = scenario.get_layer(&[(RANGE, "bytes=0-1"), (RANGE, "bytes=3-4")]);
    assert_eq!((response.status().as_u16(), response.body()), (200, &scenario.layer_bytes(0..10)));
    let target = format!("/v2/a/b/blobs/{}", scenario.layer);
    let response = scenario.ask(Method::HEAD, &target, &[(RANGE, "bytes=4-")]);
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-length"), Some("10"));
}

#[test]
fn if_range_decides_whether_the_range_applies() {
    let scenario = Scenario::new();
    let etag = format!("\"{}\"", scenario.layer);
    let response = scenario.get_layer(&[(RANGE, "bytes=4-"), (IF_RANGE, &etag)]);
    assert_eq!(response.status(), 206);
    let response = scenario.get_layer(&[(RANGE, "bytes=4-"), (IF_RANGE, "\"other\"")]);
    assert_eq!(response.status(), 200);
    assert_eq!(response.body(), &scenario.layer_bytes(0..10));
}

#[test]
fn content_that_the_client_has_is_not_sent_again() {
    let scenario = Scenario::new();
    let digest = scenario.image.digest.to_string();
    let etag = format!("\"{digest}\"");
    let target = "/v2/a/b/manifests/v1";
    for method in [Method::GET, Method::HEAD] {
        let response = scenario.ask(method, target, &[(IF_NONE_MATCH, &etag)]);
        assert_eq!((response.status().as_u16(), response.body()), (304, &Body::Empty));
        assert_eq!(header(&response, "etag"), Some(&*etag));
        assert_eq!(header(&response, "docker-content-digest"), Some(&*digest));
        assert_eq!(header(&response, "content-length"), None);
    }
    assert_eq!(scenario.ask(Method::GET, target, &[(IF_NONE_MATCH, "\"other\"")]).status(), 200);
    let layer_etag = format!("\"{}\"", scenario.layer);
    let response = scenario.get_layer(&[(IF_NONE_MATCH, &layer_etag), (RANGE, "bytes=4-")]);
    assert_eq!(response.status(), 304);
    assert_eq!(scenario.ask(Method::GET, target, &[(IF_MATCH, "\"other\"")]).status(), 412);
    assert_eq!(scenario.ask(Method::GET, target, &[(IF_MATCH, &etag)]).status(), 200);
}

#[test]
fn the_accept_header_is_ignored() {
    let accept = [(http::header::ACCEPT, "application/vnd.docker.distribution.manifest.v2+json")];
    let response = Scenario::new().ask(Method::GET, "/v2/a/b/manifests/v1", &accept);
    assert_eq!(header(&response, "content-type"), Some(MediaType::OCI_MANIFEST.as_str()));
}

#[test]
fn missing_content_is_404_with_its_own_code() {
    let scenario = Scenario::new();
    let digest = Digest::of(Algorithm::Sha256, b"nowhere");
    for (target, code) in [
        ("/v2/none/manifests/v1".to_owned(), "NAME_UNKNOWN"),
        ("/v2/a/manifests/v1".to_owned(), "NAME_UNKNOWN"),
        ("/v2/none/tags/list".to_owned(), "NAME_UNKNOWN"),
        ("/v2/a/b/manifests/v2".to_owned(), "MANIFEST_UNKNOWN"),
        (format!("/v2/a/b/manifests/{digest}"), "MANIFEST_UNKNOWN"),
        // A blob is not a manifest, and a manifest is not a blob.
        (format!("/v2/a/b/manifests/{}", scenario.layer), "MANIFEST_UNKNOWN"),
        (format!("/v2/a/b/blobs/{digest}"), "BLOB_UNKNOWN"),
        (format!("/v2/a/b/blobs/{}", scenario.image.digest), "BLOB_UNKNOWN"),
    ] {
        assert_eq!(error_of(&scenario.get(&target)), (404, code.into()), "{target}");
    }
}

#[test]
fn a_blob_that_cannot_be_read_is_404_or_500_for_get_and_head() {
    use Unavailable::{Missing, Unreadable};
    let digest = Digest::of(Algorithm::Sha256, LAYER);
    for (endpoint, reason, status, code) in [
        ("blobs", Missing, 404, "BLOB_UNKNOWN"),
        ("manifests", Missing, 404, "MANIFEST_UNKNOWN"),
        ("blobs", Unreadable, 500, "UNKNOWN"),
        ("manifests", Unreadable, 500, "UNKNOWN"),
    ] {
        let [get, head] = [Method::GET, Method::HEAD].map(|method| {
            let request = http::Request::builder().method(method).uri(format!("/v2/a/{endpoint}/{digest}"));
            Server::respond_without(&request.body(()).unwrap().into_parts().0, &digest, reason)
        });
        assert_eq!(error_of(&get), (status, code.to_owned()));
        assert!(json_of(&get)["errors"][0]["message"].as_str().unwrap().contains(&digest.to_string()));
        assert_eq!((head.status(), head.headers()), (get.status(), get.headers()));
        assert_eq!(head.body(), &Body::Empty);
        assert_eq!(header(&get, "content-length"), Some(&*get.body().size().to_string()));
    }
}

#[test]
fn a_connection_too_many_is_429_without_a_request() {
    let response = Server::too_many_connections();
    assert_eq!(error_of(&response), (429, "TOOMANYREQUESTS".to_owned()));
    assert_eq!(header(&response, "retry-after"), Some("1"));
    assert_eq!(header(&response, "content-length"), Some(&*response.body().size().to_string()));
}

#[test]
fn a_malformed_target_is_rejected_with_its_error_code() {
    let scenario = Scenario::new();
    for (target, status, code) in [
        ("/v2/A/manifests/t", 400, "NAME_INVALID"),
        ("/v2/../manifests/t", 400, "NAME_INVALID"),
        ("/v2//manifests/t", 400, "NAME_INVALID"),
        ("/v2/a%252Fb/manifests/t", 400, "NAME_INVALID"),
        ("/v2/a/manifests/%", 400, "NAME_INVALID"),
        ("/v2/%ff/manifests/t", 400, "NAME_INVALID"),
        ("/v2/a/manifests/.t", 404, "TAG_INVALID"),
        ("/v2/a/manifests/", 404, "TAG_INVALID"),
        ("/v2/a/manifests/sha256:0", 400, "DIGEST_INVALID"),
        ("/v2/a/blobs/t", 400, "DIGEST_INVALID"),
        ("/v2/a/referrers/t", 400, "DIGEST_INVALID"),
        ("/v2/a/referrers/t?artifactType=x", 400, "UNSUPPORTED"),
        ("/v2/a/tags/list?n=-1", 400, "PAGINATION_NUMBER_INVALID"),
        ("/v2/a/tags/list?n=", 400, "PAGINATION_NUMBER_INVALID"),
        ("/v2/a/tags/list?last=.t", 400, "TAG_INVALID"),
        ("/v2/a/tags/list?last=%zz", 400, "UNSUPPORTED"),
    ] {
        assert_eq!(error_of(&scenario.get(target)), (status, code.to_owned()), "{target}");
    }
}

#[test]
fn unknown_endpoints_are_404_and_those_of_uploads_where_nothing_may_be_pushed() {
    let scenario = Scenario::new();
    for target in [
        "/",
        "*",
        "/v1/",
        "/v2x",
        "/v2/a",
        "/v2/a/b",
        "/v2/manifests/t",
        "/v2/a/b/blobs/uploads/",
        "/v2/a/b/blobs/uploads/1",
        "/v2/a/b/blobs/uploads/.",
        "/v2/a/b/tags/lis",
    ] {
        assert_eq!(error_of(&scenario.get(target)), (404, "UNSUPPORTED".to_owned()), "{target}");
    }
}

#[test]
fn write_methods_are_405() {
    let scenario = Scenario::new();
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
        for target in ["/v2/", "/v2/a/b/blobs/uploads/", "/v2/a/b/manifests/v1", "/elsewhere"] {
            let response = scenario.ask(method.parse().unwrap(), target, &[]);
            assert_eq!(error_of(&response), (405, "UNSUPPORTED".into()), "{method} {target}");
            assert_eq!(response.headers().get(ALLOW).unwrap(), "GET, HEAD");
        }
    }
}

#[test]
fn an_unread_entry_is_both_a_manifest_and_a_blob() {
    let mut scenario = Scenario::new();
    let media_type: MediaType = "application/vnd.example.note".parse().unwrap();
    let note = scenario.memory.add_blob(media_type, &b"not JSON"[..]);
    let index = scenario.memory.add_index(Flavour::OCI, [&note]);
    scenario.add("a/b", Some("notes"), &index);
    let body = Body::Blob { digest: note.digest.clone(), range: 0..8 };
    let response = scenario.get(&format!("/v2/a/b/manifests/{}", note.digest));
    assert_eq!(header(&response, "content-type"), Some("application/vnd.example.note"));
    assert_eq!(header(&response, "content-length"), Some("8"));
    assert_eq!(response.body(), &body);
    assert_eq!(scenario.get(&format!("/v2/a/b/blobs/{}", note.digest)).body(), &body);
}

/// Generates requests close enough to valid ones to reach deep into the server.
fn any_request() -> impl Strategy<Value = http::Request<()>> {
    let method = prop_oneof![
        4 => Just("GET"),
        2 => Just("HEAD"),
        1 => prop::sample::select(vec!["POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    ];
    let scenario = Scenario::new();
    let (layer, image) = (scenario.layer.to_string(), scenario.image.digest.to_string());
    let segment = prop_oneof![
        6 => prop::sample::select(vec![
            "a".to_owned(), "b".to_owned(), "a/b".to_owned(), "a%2Fb".to_owned(), "manifests".to_owned(),
            "blobs".to_owned(), "tags".to_owned(), "list".to_owned(), "referrers".to_owned(), "v1".to_owned(),
            layer.clone(), image.clone(), "sha256:".to_owned(), "..".to_owned(), String::new(),
        ]),
        1 => "[!-~&&[^#?\\\\^`{|}<>\"]]{0,8}",
    ];
    let path = prop_oneof![
        4 => Just(format!("/v2/a/b/blobs/{layer}")),
        2 => Just("/v2/a/b/manifests/v1".to_owned()),
        6 => prop::collection::vec(segment, 0..6).prop_map(|segments| format!("/v2/{}", segments.join("/"))),
    ];
    let query =
        prop::option::of(prop_oneof!["n=[0-9]{0,3}", "(n|last|artifactType)=[ -~&&[^#<> \"`{}|\\\\^]]{0,6}"]);
    let etag = prop_oneof![
        Just("*".to_owned()),
        Just(format!("\"{layer}\"")),
        Just(format!("W/\"{layer}\", \"x\"")),
        "[ -~]{0,12}",
    ];
    let range = prop_oneof!["bytes=[0-9]{0,2}-[0-9]{0,2}", "[ -~]{0,12}", "bytes=[0-9]{19,21}-[0-9]{19,21}"];
    let headers = prop::collection::vec(
        prop_oneof![
            3 => (Just(RANGE), range),
            1 => (prop::sample::select(vec![IF_MATCH, IF_NONE_MATCH, IF_RANGE]), etag),
        ],
        0..3,
    );
    (method, path, query, headers).prop_filter_map("not a URL", |(method, path, query, headers)| {
        let target = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
        let mut request = http::Request::builder().method(method).uri(target).header(HOST, "x");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(()).ok()
    })
}

proptest! {
    #[test]
    fn every_request_has_a_well_formed_response(request in any_request()) {
        let scenario = Scenario::new();
        let (head, ()) = request.into_parts();
        let response = scenario.server.respond(&head);
        let status = response.status().as_u16();
        prop_assert!([200, 206, 304, 400, 404, 405, 412, 416].contains(&status), "{status}");
        prop_assert_eq!(header(&response, "docker-distribution-api-version"), Some("registry/2.0"));
        let length = header(&response, "content-length").map(|length| length.parse::<u64>().unwrap());
        prop_assert_eq!(length.is_none(), status == 304);
        if head.method == Method::HEAD || status == 304 {
            prop_assert_eq!(response.body().size(), 0);
        } else {
            prop_assert_eq!(length, Some(response.body().size()));
            if status >= 400 {
                let error = json_of(&response)["errors"][0].clone();
                prop_assert!(error["code"].as_str().is_some_and(|code| !code.is_empty()));
                prop_assert!(error["message"].is_string());
            }
        }
        prop_assert_eq!(header(&response, "content-range").is_some(), status == 206 || status == 416);
        if status == 206 {
            prop_assert_eq!(&head.method, Method::GET);
            let Body::Blob { range, .. } = response.body() else { panic!("206 without a blob") };
            prop_assert!(range.start < range.end && range.end <= 10);
            let shown = format!("bytes {}-{}/10", range.start, range.end - 1);
            prop_assert_eq!(header(&response, "content-range"), Some(&*shown));
        }
    }
}

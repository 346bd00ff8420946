//! Who may do what.

use http::Method;
use serde_json::json;

use crate::header::warning::Warning;
use crate::server::policy::{Policy, Rule, User, Who};
use crate::server::tests::{Scenario, assert_error};
use crate::types::digest::{Algorithm, Digest};

const INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

fn user(name: &str) -> User {
    name.parse().unwrap()
}

#[test]
fn a_server_that_is_not_told_otherwise_is_read_only() {
    let mut scenario = Scenario::with(Policy::default());
    for (method, target) in [
        (Method::POST, "/v2/a/blobs/uploads/"),
        (Method::PUT, "/v2/a/manifests/v1"),
        (Method::DELETE, "/v2/a/manifests/v1"),
        (Method::PATCH, "/v2/a/blobs/uploads/x"),
    ] {
        let refused = scenario.send(&method, target, INDEX.as_bytes());
        assert_error(&refused, 405, "UNSUPPORTED");
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    }
}

#[test]
fn a_login_is_required_where_a_rule_names_users() {
    let rule = Rule {
        reads: Who::AnyUser,
        writes: Who::Users(["ann".parse().unwrap()].into()),
        ..Rule::read_only()
    };
    let mut scenario = Scenario::with(Policy { rules: vec![rule], ..Policy::default() });
    let challenge = Some("Basic realm=\"registry\", charset=\"UTF-8\"");
    for (method, target) in [
        (Method::GET, "/v2/"),
        (Method::GET, "/v2/a/tags/list"),
        (
            Method::GET,
            "/v2/a/referrers/sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ),
        (Method::GET, "/v2/a/blobs/uploads/x"),
        (Method::PUT, "/v2/a/manifests/v1"),
        (Method::POST, "/v2/a/blobs/uploads/"),
        (Method::PATCH, "/v2/a/blobs/uploads/x"),
    ] {
        let refused = scenario.send(&method, target, INDEX.as_bytes());
        assert_error(&refused, 401, "UNAUTHORIZED");
        assert_eq!(refused.header("www-authenticate"), challenge);
    }
    scenario.user = Some(user("bob"));
    assert_eq!(scenario.get("/v2/").status(), 200);
    assert_error(&scenario.push("a", "v1", INDEX), 403, "DENIED");
    assert_error(&scenario.get("/v2/a/tags/list"), 404, "NAME_UNKNOWN");
    scenario.user = Some(user("ann"));
    assert_eq!(scenario.push("a", "v1", INDEX).status(), 201);
    assert_error(&scenario.delete("/v2/a/manifests/v1"), 403, "DENIED");
    scenario.user = None;
    assert_eq!(scenario.get("/v2/_catalog").json(), json!({ "repositories": [] }));
}

#[test]
fn a_blob_is_mounted_only_from_where_the_user_may_read() {
    let closed = Rule {
        prefix: Some("secret".parse().unwrap()),
        reads: Who::Users(["ann".parse().unwrap()].into()),
        writes: Who::Users(["ann".parse().unwrap()].into()),
        ..Rule::read_only()
    };
    let mut scenario = Scenario::with(Policy { rules: vec![Rule::open(), closed], ..Policy::default() });
    scenario.user = Some(user("ann"));
    let digest = scenario.push_blob("secret/app", b"secret");
    let mut mount = |user: Option<User>, query: &str| {
        scenario.user = user;
        scenario.send(&Method::POST, &format!("/v2/open/blobs/uploads/?mount={digest}{query}"), b"").status()
    };
    for query in ["", "&from=secret/app"] {
        assert_eq!(mount(None, query), 202);
        assert_eq!(mount(Some(user("bob")), query), 202);
    }
    assert_eq!(mount(Some(user("ann")), "&from=secret/app"), 201);
}

#[test]
fn a_reserved_component_is_no_part_of_a_name() {
    let reserved_components = ["blobs".to_owned()].into();
    let mut scenario = Scenario::with(Policy { reserved_components, ..Policy::open() });
    for name in ["blobs", "team/blobs/app"] {
        assert_error(&scenario.push(name, "v1", INDEX), 404, "NAME_UNKNOWN");
    }
    assert_eq!(scenario.push("team/blobs-1", "v1", INDEX).status(), 201);
}

#[test]
fn an_immutable_tag_is_set_once() {
    let rule = Rule { immutable_tags: true, ..Rule::open() };
    let mut scenario = Scenario::with(Policy { rules: vec![rule], ..Policy::default() });
    let other = INDEX.replace("[]", "[ ]");
    let digest = Digest::of(Algorithm::Sha256, INDEX.as_bytes());
    for _ in 0..2 {
        assert_eq!(scenario.push("a", "v1", INDEX).status(), 201, "it may be set to the same again");
    }
    assert_error(&scenario.push("a", "v1", &other), 409, "DENIED");
    let target = format!("{}?tag=v2&tag=v1", Digest::of(Algorithm::Sha256, other.as_bytes()));
    assert_error(&scenario.push("a", &target, &other), 409, "DENIED");
    assert_error(&scenario.delete("/v2/a/manifests/v1"), 409, "DENIED");
    assert_error(&scenario.delete(&format!("/v2/a/manifests/{digest}")), 409, "DENIED");
    assert_eq!(scenario.get("/v2/a/tags/list").json()["tags"], json!(["v1"]));
    assert_eq!(scenario.get("/v2/a/manifests/v1").body(), INDEX);
}

#[test]
fn a_manifest_must_be_complete_where_that_is_configured() {
    let mut scenario = Scenario::with(Policy { complete_manifests: true, ..Policy::open() });
    let config = Digest::of(Algorithm::Sha256, b"{}");
    let image = json!({
        "schemaVersion": 2,
        "config": { "mediaType": "a/b", "digest": config.to_string(), "size": 2 },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "digest": Digest::of(Algorithm::Sha256, b"elsewhere").to_string(),
            "size": 9,
        }],
    })
    .to_string();
    assert_error(&scenario.push("a", "v1", &image), 404, "MANIFEST_BLOB_UNKNOWN");
    scenario.push_blob("a", b"{}");
    assert_eq!(scenario.push("a", "v1", &image).status(), 201);
    let entry = Digest::of(Algorithm::Sha256, image.as_bytes());
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": entry.to_string(),
            "size": image.len(),
        }],
    })
    .to_string();
    assert_error(&scenario.push("b", "v1", &index), 404, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(scenario.push("a", "v2", &index).status(), 201);
}

#[test]
fn a_warning_is_in_the_responses_of_the_server() {
    let text = "moves to \"registry.example\", soon: gr\u{fc}n";
    let warning = Some(Warning::new(text).unwrap());
    let mut scenario = Scenario::with(Policy { warning, ..Policy::open() });
    for (method, target, status) in [
        ("GET", "/v2/", 200),
        ("HEAD", "/v2/a/manifests/v1", 404),
        ("POST", "/v2/a/blobs/uploads/", 202),
        ("DELETE", "/v2/a/manifests/v1", 404),
        ("PUT", "/v2/a/manifests/v1", 400),
    ] {
        let answered = scenario.ask(method, target, &[], b"no manifest");
        assert_eq!(answered.status(), status, "{method} {target}");
        let value = answered.0.headers()["warning"].as_bytes();
        assert_eq!(Warning::parse(value).unwrap()[0].text(), text, "{method} {target}");
    }
    for (text, is_valid) in [("", false), ("a\nb", false), (&*"x".repeat(4100), false), ("a \\ b", true)] {
        assert_eq!(Warning::new(text).is_ok(), is_valid, "{text:.10}");
    }
}

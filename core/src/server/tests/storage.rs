//! What happens if a storage fails, a body breaks off, or requests meet.

use std::ops::Range;

use bytes::Bytes;
use http::header::{HOST, LOCATION, RANGE, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, Request};

use crate::manifest::Manifest;
use crate::manifest::evidence::Evidence;
use crate::server::begin::Begun;
use crate::server::body::{Body, Unavailable};
use crate::server::effect::{Effect, Failure, Reply};
use crate::server::embedded::EmbeddedRegistry;
use crate::server::incoming::Incoming;
use crate::server::machine::Server;
use crate::server::policy::{Policy, Rule};
use crate::server::storage::Storage;
use crate::server::tests::Scenario;
use crate::types::digest::{Algorithm, Digest};
use crate::types::reference::name::Repository;
use crate::types::time::Time;
use crate::types::upload_id::UploadId;

pub(super) const INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
pub(super) const OTHER: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[ ]}"#;

pub(super) fn head(method: &str, target: &str, headers: HeaderMap) -> http::request::Parts {
    let request = Request::builder().method(method).uri(target).header(HOST, "registry");
    let (mut head, ()) = request.body(()).unwrap().into_parts();
    head.headers.extend(headers);
    head
}

pub(super) fn reply(server: &mut Server, method: &str, target: &str) -> Reply {
    match server.begin(Time::ZERO, &head(method, target, HeaderMap::new())) {
        Begun::Reply(reply) => reply,
        Begun::Receive(_) => panic!("{method} {target} takes a body"),
    }
}

#[track_caller]
pub(super) fn receive(server: &mut Server, method: &str, target: &str) -> Incoming {
    match server.begin(Time::ZERO, &head(method, target, HeaderMap::new())) {
        Begun::Receive(incoming) => incoming,
        Begun::Reply(reply) => panic!("{method} {target}: {:?}", reply.done()),
    }
}

pub(super) fn push(server: &mut Server, tag: &str, document: &str) -> Reply {
    let mut incoming = receive(server, "PUT", &format!("/v2/a/manifests/{tag}"));
    incoming.push(document.as_bytes()).unwrap();
    server.finish(Time::ZERO, incoming)
}

fn status(server: &Server, target: &str) -> u16 {
    server.respond(&head("GET", target, HeaderMap::new())).status().as_u16()
}

pub(super) fn location(reply: Reply) -> String {
    reply.done().headers()[LOCATION].to_str().unwrap().to_owned()
}

#[test]
fn what_is_not_durable_is_not_visible() {
    let mut server = Server::with_policy(Policy::open(), 1);
    let pushed = push(&mut server, "v1", INDEX);
    assert!(matches!(pushed.effects(), Some((_, [Effect::PutManifest { .. }, Effect::SetTag(..)]))));
    assert_eq!(status(&server, "/v2/a/manifests/v1"), 404);
    server.commit(&pushed);
    assert_eq!(status(&server, "/v2/a/manifests/v1"), 200);
    assert_eq!(pushed.done().status(), 201);
    // The same again changes nothing.
    assert!(push(&mut server, "v1", INDEX).effects().is_none());
}

#[test]
fn a_failure_leaves_everything_as_it_was() {
    let mut server = Server::with_policy(Policy::open(), 1);
    let pushed = push(&mut server, "v1", INDEX);
    server.commit(&pushed);
    for (failure, code) in [(Failure::Full, 507), (Failure::Storage, 500)] {
        let moved = push(&mut server, "v1", OTHER);
        let removed = reply(
            &mut server,
            "DELETE",
            &format!("/v2/a/manifests/{}", Digest::of(Algorithm::Sha256, INDEX.as_bytes())),
        );
        server.roll_back(&moved);
        server.roll_back(&removed);
        assert_eq!(moved.failed(failure).status(), code);
        assert_eq!(removed.failed(failure).status(), code);
        let kept = server.respond(&head("GET", "/v2/a/manifests/v1", HeaderMap::new()));
        assert!(matches!(kept.body(), Body::Bytes(bytes) if bytes == INDEX));
    }
    // An upload that could not be committed goes on.
    let upload = location(reply(&mut server, "POST", "/v2/a/blobs/uploads/"));
    let digest = Digest::of(Algorithm::Sha256, b"content");
    for is_full in [true, false] {
        let mut closing = receive(&mut server, "PUT", &format!("{upload}?digest={digest}"));
        closing.push(b"content").unwrap();
        let closed = server.finish(Time::ZERO, closing);
        if is_full {
            server.roll_back(&closed);
            assert_eq!(closed.failed(Failure::Full).status(), 507);
        } else {
            server.commit(&closed);
            assert_eq!(closed.done().status(), 201);
        }
    }
    assert_eq!(status(&server, &format!("/v2/a/blobs/{digest}")), 200);
}

#[test]
fn requests_see_the_changes_before_them() {
    let rule = Rule { immutable_tags: true, ..Rule::open() };
    let mut server = Server::with_policy(Policy { rules: vec![rule], ..Policy::default() }, 1);
    let first = push(&mut server, "v1", INDEX);
    let same = push(&mut server, "v1", INDEX);
    assert!(same.effects().is_some(), "it waits for the first to become durable");
    let second = push(&mut server, "v1", OTHER);
    for reply in [&first, &same, &second] {
        server.commit(reply);
    }
    assert_eq!([first, same, second].map(|reply| reply.done().status().as_u16()), [201, 201, 409]);
}

#[test]
fn a_body_that_breaks_off_counts_as_far_as_it_is_durable() {
    let mut server = Server::with_policy(Policy::open(), 1);
    let upload = location(reply(&mut server, "POST", "/v2/a/blobs/uploads/"));
    let range = |server: &Server| {
        let status = server.respond(&head("GET", &upload, HeaderMap::new()));
        status.headers()[RANGE].to_str().unwrap().to_owned()
    };
    for (part, failure, code, stored) in [
        (&b"con"[..], None, 400, "0-2"),
        (b"xxx", Some(Failure::Full), 507, "0-2"),
        (b"tent", None, 400, "0-6"),
    ] {
        let mut chunk = receive(&mut server, "PATCH", &upload);
        chunk.push(part).unwrap();
        let interrupted = server.interrupted(Time::ZERO, chunk, failure);
        assert!(interrupted.effects().is_none());
        assert_eq!(interrupted.done().status(), code);
        assert_eq!(range(&server), stored);
    }
    let digest = Digest::of(Algorithm::Sha256, b"content");
    let mut closing = receive(&mut server, "PUT", &format!("{upload}?digest={digest}"));
    // The hash was lost with the bytes that could not be written.
    assert_eq!(closing.stored(), Some(0..7));
    closing.push_stored(b"cont");
    closing.push_stored(b"ent and more");
    assert_eq!(closing.stored(), None);
    assert_eq!(server.finish(Time::ZERO, closing).done().status(), 201);
}

#[test]
fn a_push_in_one_request_that_breaks_off_leaves_no_upload() {
    let mut server = Server::with_policy(Policy { uploads: 1, ..Policy::open() }, 1);
    let digest = Digest::of(Algorithm::Sha256, b"content");
    for _ in 0..2 {
        let mut whole = receive(&mut server, "POST", &format!("/v2/a/blobs/uploads/?digest={digest}"));
        whole.push(b"con").unwrap();
        let interrupted = server.interrupted(Time::ZERO, whole, None);
        assert!(matches!(interrupted.effects(), Some((_, [Effect::EndUpload(_)]))));
        server.commit(&interrupted);
    }
}

#[test]
fn an_upload_whose_cancellation_fails_takes_no_other_request_before_its_own_has_ended() {
    for ends_first in [false, true] {
        let mut server = Server::with_policy(Policy::open(), 1);
        let upload = location(reply(&mut server, "POST", "/v2/a/blobs/uploads/"));
        let mut running = receive(&mut server, "PATCH", &upload);
        running.push(b"con").unwrap();
        let cancelled = reply(&mut server, "DELETE", &upload);
        let ended = if ends_first {
            let ended = server.finish(Time::ZERO, running);
            server.roll_back(&cancelled);
            ended
        } else {
            server.roll_back(&cancelled);
            assert_eq!(reply(&mut server, "PATCH", &upload).done().status(), 429);
            server.finish(Time::ZERO, running)
        };
        assert_eq!(ended.done().status(), if ends_first { 404 } else { 202 });
        let _ = receive(&mut server, "PATCH", &upload);
    }
}

#[test]
fn a_push_in_one_request_that_is_refused_leaves_no_upload() {
    let mut server = Server::with_policy(Policy { uploads: 1, ..Policy::open() }, 1);
    let digest = Digest::of(Algorithm::Sha256, b"content");
    let target = format!("/v2/a/blobs/uploads/?digest={digest}");
    for range in ["1-7", "x"] {
        let headers = HeaderMap::from_iter([(http::header::CONTENT_RANGE, range.parse().unwrap())]);
        match server.begin(Time::ZERO, &head("POST", &target, headers)) {
            Begun::Reply(refused) => assert!(refused.done().status().is_client_error(), "{range}"),
            Begun::Receive(_) => panic!("{range} is accepted"),
        }
    }
    let _ = receive(&mut server, "POST", &target);
}

#[test]
fn an_upload_takes_one_request_at_a_time() {
    let mut server = Server::with_policy(Policy::open(), 1);
    let upload = location(reply(&mut server, "POST", "/v2/a/blobs/uploads/"));
    let mut first = receive(&mut server, "PATCH", &upload);
    let second = reply(&mut server, "PATCH", &upload).done();
    assert_eq!((second.status().as_u16(), &second.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    first.push(b"content").unwrap();
    assert_eq!(server.finish(Time::ZERO, first).done().status(), 202);
    // A request of an upload that is cancelled meanwhile finds it gone.
    let mut third = receive(&mut server, "PATCH", &upload);
    let cancelled = reply(&mut server, "DELETE", &upload);
    server.commit(&cancelled);
    assert_eq!(cancelled.done().status(), 204);
    third.push(b"more").unwrap();
    assert_eq!(server.finish(Time::ZERO, third).done().status(), 404);
}

#[test]
fn an_upload_goes_on_after_a_restart() {
    let mut server = Server::with_policy(Policy::open(), 2);
    server.restore_upload(Time::ZERO, "a".parse().unwrap(), "kept".parse().unwrap(), 3);
    let mut chunk = receive(&mut server, "PATCH", "/v2/a/blobs/uploads/kept");
    assert_eq!((chunk.stored(), chunk.place().map(|(_, offset)| offset)), (None, Some(3)));
    chunk.push(b"te").unwrap();
    assert_eq!(chunk.place().map(|(_, offset)| offset), Some(5));
    assert_eq!(server.finish(Time::ZERO, chunk).done().status(), 202);
    let digest = Digest::of(Algorithm::Sha512, b"content");
    let mut closing = receive(&mut server, "PUT", &format!("/v2/a/blobs/uploads/kept?digest={digest}"));
    assert_eq!(closing.stored(), Some(0..5));
    closing.push_stored(b"conte");
    closing.push(b"nt").unwrap();
    let closed = server.finish(Time::ZERO, closing);
    assert!(matches!(closed.effects(), Some((_, [Effect::Commit { size: 7, .. }]))));
    assert_eq!(closed.done().status(), 201);
}

#[test]
fn bytes_that_were_not_hashed_close_no_upload() {
    let mut server = Server::with_policy(Policy::open(), 2);
    server.restore_upload(Time::ZERO, "a".parse().unwrap(), "kept".parse().unwrap(), 3);
    let digest = Digest::of(Algorithm::Sha256, b"tent");
    let mut closing = receive(&mut server, "PUT", &format!("/v2/a/blobs/uploads/kept?digest={digest}"));
    closing.push(b"tent").unwrap();
    assert_eq!(server.finish(Time::ZERO, closing).done().status(), 400);
}

/// A storage that keeps uploads over a restart must know whose they are.
#[test]
fn a_storage_learns_the_repository_of_an_upload() {
    #[derive(Default)]
    struct Seen(Vec<(String, u64)>);
    impl Storage for Seen {
        fn write(&mut self, of: &Repository, _: &UploadId, at: u64, _: &[u8]) -> Result<(), Failure> {
            self.0.push((of.to_string(), at));
            Ok(())
        }
        fn sync(&mut self, _: &UploadId) -> Result<(), Failure> {
            Ok(())
        }
        fn read_upload(&self, _: &UploadId, _: Range<u64>, _: &mut dyn FnMut(&[u8])) -> Result<(), Failure> {
            Ok(())
        }
        fn apply(&mut self, _: &[(&Repository, &[Effect])]) -> Result<(), Failure> {
            Ok(())
        }
        fn read(&self, _: &Repository, _: &Digest, _: Range<u64>) -> Result<Bytes, Unavailable> {
            Err(Unavailable::Missing)
        }
    }
    let mut registry = EmbeddedRegistry::new(Server::with_policy(Policy::open(), 1), Seen::default());
    let mut send = |method: &str, target: &str, body: &'static str| {
        let (head, ()) = Request::builder().method(method).uri(target).body(()).unwrap().into_parts();
        let mut request = Request::from_parts(head, Bytes::from(body));
        request.headers_mut().insert(HOST, "registry".parse().unwrap());
        registry.respond(Time::ZERO, request)
    };
    let begun = send("POST", "/v2/team/app/blobs/uploads/", "");
    let upload = begun.headers()[LOCATION].to_str().unwrap().to_owned();
    for chunk in ["some", " bytes"] {
        assert_eq!(send("PATCH", &upload, chunk).status(), 202);
    }
    let (_, storage) = registry.into_parts();
    assert_eq!(storage.0, [("team/app".to_owned(), 0), ("team/app".to_owned(), 4)]);
}

#[test]
fn a_manifest_is_restored_whatever_it_refers_to() {
    let child = Digest::of(Algorithm::Sha256, b"");
    let document = format!(
        r#"{{"schemaVersion":2,"mediaType":"{0}","manifests":[{{"mediaType":"{0}","digest":"{child}","size":{1}}}]}}"#,
        "application/vnd.oci.image.index.v1+json",
        u64::from(u32::MAX),
    );
    let digest = Digest::of(Algorithm::Sha256, document.as_bytes());
    let manifest = Manifest::read(document.clone().into(), Evidence::default()).unwrap();
    let mut server = Server::new();
    server.add_manifest(&"a".parse().unwrap(), &digest, &manifest, ["v1".parse().unwrap()]);
    for name in ["v1", &digest.to_string()] {
        let found = server.respond(&head("GET", &format!("/v2/a/manifests/{name}"), HeaderMap::new()));
        assert!(matches!(found.body(), Body::Bytes(bytes) if *bytes == document), "{name}");
    }
}

#[test]
fn a_put_or_a_patch_begins_without_effects() {
    let mut server = Server::with_policy(Policy::open(), 1);
    let digest = Digest::of(Algorithm::Sha256, b"content");
    let upload = location(reply(&mut server, "POST", "/v2/a/blobs/uploads/"));
    for method in ["PUT", "PATCH", "GET", "HEAD", "OPTIONS"] {
        for target in [
            "/v2/a/manifests/1".to_owned(),
            format!("/v2/a/blobs/uploads/?mount={digest}"),
            format!("/v2/a/blobs/{digest}"),
            upload.clone(),
            format!("{upload}?digest={digest}"),
        ] {
            let reply = match server.begin(Time::ZERO, &head(method, &target, HeaderMap::new())) {
                Begun::Reply(reply) => reply,
                Begun::Receive(incoming) => server.interrupted(Time::ZERO, incoming, None),
            };
            assert!(reply.effects().is_none(), "{method} {target}: {reply:?}");
        }
    }
}

#[test]
fn a_wrong_login_is_told_with_a_challenge() {
    let response = Server::wrong_login(&Method::PUT);
    assert_eq!(response.status(), 401);
    assert!(response.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic realm="));
    assert!(matches!(response.body(), Body::Bytes(body) if body.starts_with(b"{\"errors\":")));
    assert_eq!(Server::wrong_login(&Method::HEAD).body(), &Body::Empty);
}

#[test]
fn a_request_has_the_repository_in_its_path() {
    let digest = Digest::of(Algorithm::Sha256, b"content");
    for (target, repository) in [
        ("/v2/".to_owned(), None),
        ("/v2/_catalog".to_owned(), None),
        ("/v2/A/tags/list".to_owned(), None),
        ("/v2/a/b/tags/list".to_owned(), Some("a/b")),
        (format!("/v2/a%2Fb/blobs/{digest}"), Some("a/b")),
        (format!("/v2/a/manifests/{digest}"), Some("a")),
        ("/v2/a/blobs/uploads/".to_owned(), Some("a")),
    ] {
        let found = Server::repository(&head("GET", &target, HeaderMap::new()));
        assert_eq!(found.as_ref().map(Repository::as_str), repository, "{target}");
    }
}

#[test]
fn what_is_written_to_an_upload_after_its_cancellation_is_removed() {
    for ends in ["finished", "interrupted", "failed"] {
        let mut server = Server::with_policy(Policy::open(), 1);
        let upload = location(reply(&mut server, "POST", "/v2/a/blobs/uploads/"));
        let mut chunk = receive(&mut server, "PATCH", &upload);
        let cancelled = reply(&mut server, "DELETE", &upload);
        assert!(matches!(cancelled.effects(), Some((_, [Effect::EndUpload(_)]))));
        server.commit(&cancelled);
        chunk.push(b"content").unwrap();
        let (ended, status) = match ends {
            "finished" => (server.finish(Time::ZERO, chunk), 404),
            "interrupted" => (server.interrupted(Time::ZERO, chunk, None), 400),
            _ => (server.interrupted(Time::ZERO, chunk, Some(Failure::Full)), 507),
        };
        assert!(matches!(ended.effects(), Some((_, [Effect::EndUpload(_)]))), "{ends}: {ended:?}");
        server.commit(&ended);
        assert_eq!(ended.done().status(), status, "{ends}");
    }
}

#[test]
fn a_body_that_is_too_large_is_not_stored() {
    let mut scenario = Scenario::with(Policy { blob_bytes: 4, ..Policy::open() });
    let upload = scenario.begin("a");
    assert_eq!(scenario.send(&Method::PATCH, &upload, b"12345").status(), 413);
    let id: UploadId = upload.rsplit('/').next().unwrap().parse().unwrap();
    let (_, storage) = scenario.registry.into_parts();
    assert!(storage.read_upload(&id, 0..1, &mut |_| ()).is_err(), "a part of it was stored");
}

#[test]
fn a_push_in_one_request_that_cannot_be_stored_ends_its_upload() {
    let mut server = Server::with_policy(Policy::open(), 1);
    let digest = Digest::of(Algorithm::Sha256, b"content");
    let mut whole = receive(&mut server, "POST", &format!("/v2/a/blobs/uploads/?digest={digest}"));
    assert!(server.expire_uploads(Time::ZERO).is_empty(), "it is in progress");
    whole.push(b"content").unwrap();
    let pushed = server.finish(Time::ZERO, whole);
    server.roll_back(&pushed);
    assert_eq!(server.expire_uploads(Time::ZERO).len(), 1);
}

//! Replies whose effects are carried out together, of which some fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName};

use crate::server::begin::Begun;
use crate::server::effect::{Effect, Failure, Reply};
use crate::server::machine::Server;
use crate::server::policy::Policy;
use crate::server::tests::storage::{INDEX, OTHER, head, location, push, receive, reply};
use crate::types::digest::{Algorithm, Digest};
use crate::types::reference::name::{Repository, Tag};
use crate::types::time::Time;

const BLOB: &str = "{}";

fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

/// An image with the config [`BLOB`].
fn image() -> String {
    let (media_type, config) = ("application/vnd.oci.image.manifest.v1+json", digest(BLOB));
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{{"mediaType":"text/plain","digest":"{config}","size":2}},"layers":[]}}"#
    )
}

/// A request that writes.
#[derive(Clone, Debug)]
struct Write {
    method: &'static str,
    target: String,
    headers: HeaderMap,
    body: String,
}

impl Write {
    fn new(method: &'static str, target: impl Into<String>, body: &str) -> Self {
        Self { method, target: target.into(), headers: HeaderMap::new(), body: body.to_owned() }
    }

    fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    fn send(&self, server: &mut Server) -> Reply {
        match server.begin(Time::ZERO, &head(self.method, &self.target, self.headers.clone())) {
            Begun::Reply(reply) => reply,
            Begun::Receive(mut incoming) => {
                incoming.push(self.body.as_bytes()).unwrap();
                server.finish(Time::ZERO, incoming)
            }
        }
    }
}

fn put(tag: &str, document: &str) -> Write {
    Write::new("PUT", format!("/v2/a/manifests/{tag}"), document)
}

fn delete(name: impl fmt::Display) -> Write {
    Write::new("DELETE", format!("/v2/a/manifests/{name}"), "")
}

fn push_blob() -> Write {
    Write::new("POST", format!("/v2/a/blobs/uploads/?digest={}", digest(BLOB)), BLOB)
}

fn delete_blob() -> Write {
    Write::new("DELETE", format!("/v2/a/blobs/{}", digest(BLOB)), "")
}

fn mount(from: &str, to: &str) -> Write {
    Write::new("POST", format!("/v2/{to}/blobs/uploads/?mount={}&from={from}", digest(BLOB)), "")
}

fn writes() -> Vec<Write> {
    vec![
        put("v1", INDEX),
        put("v1", OTHER),
        put("v1", OTHER).with(IF_MATCH, &format!("\"{}\"", digest(INDEX))),
        put("v1", INDEX).with(IF_NONE_MATCH, "*"),
        put("v2", &image()),
        delete("v1"),
        delete(digest(INDEX)),
        delete(digest(OTHER)),
        push_blob(),
        delete_blob(),
        mount("a", "b"),
        mount("b", "a"),
    ]
}

/// The contents of all repositories that are not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Contents {
    tags: BTreeMap<(Repository, Tag), Digest>,
    manifests: BTreeSet<(Repository, Digest)>,
    blobs: BTreeSet<(Repository, Digest)>,
}

impl Contents {
    /// Returns those that clients see.
    fn of(server: &Server) -> Self {
        let mut contents = Self::default();
        for (name, holdings) in &server.state.repositories {
            let tags = holdings.tags.iter();
            contents.tags.extend(tags.map(|(tag, of)| ((name.clone(), tag.clone()), of.clone())));
            contents.manifests.extend(holdings.manifests.keys().map(|of| (name.clone(), of.clone())));
            contents.blobs.extend(holdings.blobs.keys().map(|of| (name.clone(), of.clone())));
        }
        contents
    }

    /// Carries out the effects of a reply, like a storage.
    fn apply(&mut self, reply: &Reply) {
        let Some((name, effects)) = reply.effects() else { return };
        for effect in effects {
            let key = |of: &Digest| (name.clone(), of.clone());
            match effect {
                Effect::Commit { digest, .. } => _ = self.blobs.insert(key(digest)),
                Effect::Mount { from, digest, .. } => {
                    assert!(self.blobs.contains(&(from.clone(), digest.clone())), "{from} lacks {digest}");
                    self.blobs.insert(key(digest));
                }
                Effect::PutManifest { digest, .. } => _ = self.manifests.insert(key(digest)),
                Effect::SetTag(tag, of) => {
                    assert!(self.manifests.contains(&key(of)), "{tag} is set to {of}, which is missing");
                    self.tags.insert((name.clone(), tag.clone()), of.clone());
                }
                Effect::RemoveTag(tag) => _ = self.tags.remove(&(name.clone(), tag.clone())),
                Effect::RemoveManifest(digest) => _ = self.manifests.remove(&key(digest)),
                Effect::RemoveBlob(digest) => _ = self.blobs.remove(&key(digest)),
                Effect::EndUpload(_) => {}
            }
        }
    }
}

/// Sends requests one after another.
fn send_all<'a>(server: &mut Server, writes: impl IntoIterator<Item = &'a Write>) {
    for write in writes {
        let reply = write.send(server);
        server.commit(&reply);
        assert!(reply.done().status().is_success(), "{write:#?}");
    }
}

/// Sends requests, then commits their replies, except for the one that fails and those that need an earlier one. Returns the
/// requests whose effects were carried out.
fn send_batch<'a>(
    server: &mut Server,
    storage: &mut Contents,
    batch: &[&'a Write],
    failed: usize,
) -> Vec<&'a Write> {
    let replies: Vec<Reply> = batch.iter().map(|write| write.send(server)).collect();
    let (mut done, mut has_failed) = (Vec::new(), false);
    for (at, (write, reply)) in batch.iter().zip(&replies).enumerate() {
        if reply.effects().is_none() {
            continue;
        }
        if at == failed || (has_failed && reply.needs_earlier()) {
            server.roll_back(reply);
            has_failed = true;
        } else {
            storage.apply(reply);
            server.commit(reply);
            done.push(*write);
        }
    }
    done
}

#[test]
fn a_batch_of_which_one_fails_is_as_if_it_was_never_sent() {
    let writes = writes();
    let pairs: Vec<_> = writes.iter().flat_map(|one| writes.iter().map(move |two| [one, two])).collect();
    let batches: Vec<_> =
        pairs.iter().flat_map(|[one, two]| writes.iter().map(move |three| [*one, *two, three])).collect();
    for complete_manifests in [false, true] {
        let empty = Server::with_policy(Policy { complete_manifests, ..Policy::open() }, 1);
        let mut full = empty.clone();
        send_all(&mut full, &[put("v1", OTHER), put("v1", INDEX), push_blob()]);
        for start in [empty, full] {
            for (batch, failed) in batches.iter().flat_map(|batch| [(batch, 0), (batch, 1)]) {
                let mut server = start.clone();
                let mut storage = Contents::of(&server);
                let done = send_batch(&mut server, &mut storage, batch, failed);
                assert_eq!(Contents::of(&server), storage, "{batch:#?} without {failed}");

                let mut alone = start.clone();
                send_all(&mut alone, done);
                assert_eq!(Contents::of(&alone), storage, "{batch:#?} without {failed}");
            }
        }
    }
}

#[test]
fn a_reply_that_depends_on_an_earlier_one_says_so() {
    let if_index = put("v1", OTHER).with(IF_MATCH, &format!("\"{}\"", digest(INDEX)));
    let cases = [
        // Otherwise the tag is left without its manifest.
        (vec![put("v1", INDEX)], vec![put("v1", OTHER)], delete(digest(INDEX))),
        // Otherwise the tag is removed, although it is that of another manifest.
        (vec![put("v2", INDEX), put("v1", OTHER)], vec![put("v1", INDEX)], delete(digest(INDEX))),
        (vec![put("v1", OTHER)], vec![delete("v1")], delete(digest(OTHER))),
        // Otherwise the condition is not met.
        (vec![put("v1", OTHER)], vec![put("v1", INDEX)], if_index),
        (vec![put("v1", INDEX)], vec![delete("v1")], put("v1", OTHER).with(IF_NONE_MATCH, "*")),
        // Otherwise the manifest is not complete.
        (vec![], vec![push_blob()], put("v1", &image())),
        (vec![push_blob()], vec![delete_blob(), push_blob()], put("v1", &image())),
        // Otherwise the blob is not there.
        (vec![], vec![push_blob()], delete_blob()),
        (vec![], vec![push_blob()], mount("a", "b")),
    ];
    for (durable, staged, last) in cases {
        let mut server = Server::with_policy(Policy { complete_manifests: true, ..Policy::open() }, 1);
        send_all(&mut server, &durable);
        for write in &staged {
            let reply = write.send(&mut server);
            assert!(reply.effects().is_some(), "{write:#?}");
        }
        let reply = last.send(&mut server);
        assert!(reply.effects().is_some() && reply.needs_earlier(), "{last:#?} after {staged:#?}");
    }
}

#[test]
fn a_push_without_conditions_needs_no_earlier_reply() {
    let mut server = Server::with_policy(Policy::open(), 1);
    for write in [put("v1", INDEX), put("v1", OTHER), put("v2", &image()), push_blob()] {
        assert!(!write.send(&mut server).needs_earlier(), "{write:#?}");
    }
}

#[test]
fn a_reply_needs_only_what_is_not_durable_yet() {
    let policy = Policy { complete_manifests: true, ..Policy::open() };
    let mut server = Server::with_policy(policy, 1);
    let conditional = put("v1", INDEX).with(IF_NONE_MATCH, "*");
    let deletions = [delete("v1"), delete(digest(INDEX)), delete_blob()];
    for write in [push_blob(), put("v2", &image()), conditional, mount("a", "b")].iter().chain(&deletions) {
        let reply = write.send(&mut server);
        assert!(reply.effects().is_some() && !reply.needs_earlier(), "{write:#?}");
        server.commit(&reply);
    }
}

#[test]
fn replies_are_committed_or_rolled_back_one_by_one() {
    let mut server = Server::with_policy(Policy::open(), 1);
    let first = push(&mut server, "v1", INDEX);
    let second = push(&mut server, "v1", OTHER);
    let third = push(&mut server, "v2", INDEX);
    assert!(third.effects().is_some_and(|(_, effects)| effects.len() == 2), "it does not rely on the first");
    server.roll_back(&first);
    server.commit(&second);
    let shown = |server: &Server, tag: &str| {
        let response = server.respond(&head("GET", &format!("/v2/a/manifests/{tag}"), HeaderMap::new()));
        response.headers().get("docker-content-digest").map(|digest| digest.to_str().unwrap().to_owned())
    };
    let named = |document: &str| Some(digest(document).to_string());
    assert_eq!([shown(&server, "v1"), shown(&server, "v2")], [named(OTHER), None]);
    server.commit(&third);
    assert_eq!([shown(&server, "v1"), shown(&server, "v2")], [named(OTHER), named(INDEX)]);
}

#[test]
fn the_bytes_of_an_upload_are_not_removed_if_its_cancellation_has_failed() {
    for ends in ["finished", "interrupted", "failed"] {
        for is_durable in [false, true] {
            let mut server = Server::with_policy(Policy::open(), 1);
            let upload = location(reply(&mut server, "POST", "/v2/a/blobs/uploads/"));
            let chunk = receive(&mut server, "PATCH", &upload);
            let cancelled = reply(&mut server, "DELETE", &upload);
            if is_durable {
                server.commit(&cancelled);
            }
            let ended = match ends {
                "finished" => server.finish(Time::ZERO, chunk),
                "interrupted" => server.interrupted(Time::ZERO, chunk, None),
                _ => server.interrupted(Time::ZERO, chunk, Some(Failure::Full)),
            };
            assert!(matches!(ended.effects(), Some((_, [Effect::EndUpload(_)]))), "{ends}: {ended:?}");
            assert_eq!(ended.needs_earlier(), !is_durable, "{ends}");
        }
    }
}

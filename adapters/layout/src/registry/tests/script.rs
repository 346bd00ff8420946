//! A conversation with a registry, and what its client sees after each step.

use std::collections::{BTreeMap, BTreeSet};

use oci_proto::server::{EmbeddedRegistry, Policy, Storage};
use oci_proto::{Algorithm, Digest};

use crate::registry::tests::{Client, image, index, sha256};

/// A request of a client.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Begins an upload, or adds a chunk to it, under a name.
    Upload(&'static str, &'static str, &'static str),
    /// Closes the upload.
    Close(&'static str, &'static str, Algorithm, &'static str),
    /// Pushes a blob in one request.
    Whole(&'static str, &'static str),
    Mount(&'static str, &'static str, &'static str),
    Put(&'static str, &'static str, fn() -> String),
    Untag(&'static str, &'static str),
    DeleteManifest(&'static str, fn() -> String),
    DeleteBlob(&'static str, &'static str),
}

const REPOSITORIES: [&str; 3] = ["team", "team/app", "other"];
const BLOBS: [&str; 5] = ["{}", "a layer", "", "in two chunks", "shared"];
const DOCUMENTS: [fn() -> String; 3] = [first, second, both];

fn first() -> String {
    image(&["a layer"])
}

fn second() -> String {
    image(&["a layer", ""])
}

fn both() -> String {
    index(&[&first(), &second()])
}

/// Content before what refers to it, so that each layout is complete after each step.
pub(super) const SCRIPT: &[Step] = &[
    Step::Whole("team/app", "{}"),
    Step::Upload("u", "team/app", ""),
    Step::Upload("u", "team/app", "a "),
    Step::Upload("u", "team/app", "lay"),
    Step::Close("u", "team/app", Algorithm::Sha256, "er"),
    Step::Put("team/app", "1", first),
    // Again, now that a manifest needs it.
    Step::Whole("team/app", "a layer"),
    Step::Whole("team/app", ""),
    Step::Put("team/app", "1", second),
    Step::Put("team/app", "2", second),
    Step::Put("team/app", "both", both),
    Step::Whole("team", "shared"),
    Step::Mount("other", "team", "shared"),
    Step::Upload("v", "other", ""),
    Step::Upload("v", "other", "in two "),
    Step::DeleteBlob("team", "shared"),
    Step::Untag("team/app", "2"),
    Step::DeleteManifest("team/app", both),
    Step::DeleteManifest("team/app", first),
    Step::Close("v", "other", Algorithm::Sha512, "chunks"),
];

impl Step {
    /// Sends the request. Returns whether it succeeds.
    pub(super) fn send<S: Storage>(self, client: &mut Client<S>) -> bool {
        let status = match self {
            Self::Upload(name, repository, chunk) => client.upload(name, repository, chunk),
            Self::Close(name, _, algorithm, last) => {
                let content = if name == "u" { "a layer" } else { "in two chunks" };
                let digest = Digest::of(algorithm, content.as_bytes());
                let target = format!("{}?digest={digest}", client.uploads[name]);
                client.status("PUT", &target, last)
            }
            Self::Whole(repository, content) => {
                let target = format!("/v2/{repository}/blobs/uploads/?digest={}", sha256(content));
                client.status("POST", &target, content)
            }
            Self::Mount(to, from, content) => {
                let target = format!("/v2/{to}/blobs/uploads/?mount={}&from={from}", sha256(content));
                client.status("POST", &target, "")
            }
            Self::Put(repository, tag, document) => {
                client.status("PUT", &format!("/v2/{repository}/manifests/{tag}"), document())
            }
            Self::Untag(repository, tag) => {
                client.status("DELETE", &format!("/v2/{repository}/manifests/{tag}"), "")
            }
            Self::DeleteManifest(repository, document) => {
                let digest = sha256(&document());
                client.status("DELETE", &format!("/v2/{repository}/manifests/{digest}"), "")
            }
            Self::DeleteBlob(repository, content) => {
                client.status("DELETE", &format!("/v2/{repository}/blobs/{}", sha256(content)), "")
            }
        };
        assert!((200..300).contains(&status) || [404, 500, 507].contains(&status), "{self:?}: {status}");
        status < 300
    }

    /// The upload of the step.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Upload(name, ..) | Self::Close(name, ..) => Some(name),
            _ => None,
        }
    }

    /// Pushes the whole blob of an upload that is gone, when it would be closed.
    pub(super) fn push_again(self, client: &mut Client) {
        if let Self::Close(name, repository, algorithm, _) = self {
            let content = if name == "u" { "a layer" } else { "in two chunks" };
            let digest = Digest::of(algorithm, content.as_bytes());
            let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
            assert_eq!(client.status("POST", &target, content), 201, "{self:?}");
        }
    }
}

/// What clients see: tags and manifests, and blobs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) manifests: BTreeMap<String, String>,
    pub(super) blobs: BTreeSet<String>,
    pub(super) uploads: BTreeSet<&'static str>,
}

pub(super) fn look<S: Storage>(client: &mut Client<S>) -> Seen {
    let (mut manifests, mut blobs) = (BTreeMap::new(), BTreeSet::new());
    for repository in REPOSITORIES {
        let mut names = client.tags(repository);
        names.extend(DOCUMENTS.map(|document| sha256(&document()).to_string()));
        for name in names {
            let target = format!("/v2/{repository}/manifests/{name}");
            let response = client.send("GET", &target, "");
            if response.status() == 200 {
                manifests.insert(target, String::from_utf8(response.into_body().to_vec()).unwrap());
            }
        }
        for content in BLOBS {
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                let digest = Digest::of(algorithm, content.as_bytes());
                let target = format!("/v2/{repository}/blobs/{digest}");
                let response = client.send("GET", &target, "");
                if response.status() == 200 {
                    assert_eq!(response.body(), content);
                    blobs.insert(target);
                }
            }
        }
    }
    let mut uploads = BTreeSet::new();
    for (name, location) in client.uploads.clone() {
        // One without bytes need not survive.
        let status = client.send("GET", &location, "");
        if status.status() == 204 && status.headers()["range"] != "0-0" {
            uploads.insert(name);
        }
    }
    Seen { manifests, blobs, uploads }
}

/// What clients see after each step, and at first.
pub(super) fn expected() -> Vec<Seen> {
    let mut model =
        Client { registry: EmbeddedRegistry::in_memory(Policy::open(), 1), uploads: BTreeMap::new() };
    let mut all = vec![look(&mut model)];
    for step in SCRIPT {
        assert!(step.send(&mut model), "{step:?}");
        all.push(look(&mut model));
    }
    all
}

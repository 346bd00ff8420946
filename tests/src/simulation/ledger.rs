//! The rules for requests that write, checked by the registries that receive them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use http::header::CONTENT_RANGE;
use http::{HeaderMap, Method, StatusCode};
use oci_proto::{Digest, OpId, Payload};
use serde_json::Value;

use crate::simulation::answers::Asked;
use crate::transcript::parse::Answer;
use crate::writable::WritableRegistry;

/// The accounts of all operations that write.
pub(super) type Ledger = BTreeMap<OpId, Account>;

/// What the registries have received from an operation, and what they have told it.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// Its destination.
    repository: String,
    /// The tags of its root.
    pub(super) tags: Vec<String>,
    pub(super) root: Option<Digest>,
    /// The documents that refer to the root, which is stored before them.
    pub(super) after_root: BTreeSet<Digest>,
    /// The blobs and the documents of its destination when it started.
    pub(super) blobs: BTreeSet<Digest>,
    documents: BTreeSet<Digest>,
    /// Content that the registry has said to have.
    claims: BTreeSet<String>,
    /// Whether a success came from a URL that no longer says what was requested.
    trusts: bool,
    /// Whether a tag of its root was set.
    pub(super) is_tagged: bool,
    /// The bytes of each blob that have arrived.
    pub(super) bytes: BTreeMap<Digest, u64>,
    /// The number of requests.
    pub(super) requests: usize,
    /// The number of responses after which a request is sent again, or is not what it would have been.
    pub(super) causes: usize,
    /// The first request that sends a document that was there.
    pub(super) needless: Option<String>,
    /// The first request that a registry without faults never receives.
    pub(super) mistake: Option<String>,
}

impl Account {
    /// The account of an operation on a repository with this content.
    pub(super) fn new(repository: &str, blobs: BTreeSet<Digest>, documents: BTreeSet<Digest>) -> Self {
        Self { repository: repository.to_owned(), blobs, documents, ..Self::default() }
    }

    /// Takes a request that a registry is about to process, or as much of it as has arrived.
    pub(super) fn receive(&mut self, registry: &WritableRegistry, asked: &Asked<'_>) {
        let (method, path) = (&asked.head.method, asked.head.uri.path());
        let shown = format!("{method} {}", asked.head.uri);
        if let Payload::Source(source) = asked.payload {
            *self.bytes.entry(source.digest.clone()).or_default() += asked.arrived.len() as u64;
            let is_whole = source.range == (0..source.size) && asked.is_complete();
            let algorithm = source.digest.algorithm().filter(|_| is_whole);
            let is_right = algorithm.is_none_or(|of| Digest::of(of, asked.arrived) == source.digest);
            assert!(is_right, "wrong content is completed: {shown}");
        }
        let is_write = ![Method::GET, Method::HEAD, Method::DELETE].contains(method);
        let manifest = path.split_once("/manifests/").filter(|_| *method == Method::PUT);
        let name = manifest.map(|(_, name)| name);
        let sets_tag = name.is_some_and(|name| self.sets_tag(name, asked.head.uri.query()));
        let is_list = name.is_some_and(|name| name.starts_with("sha") && name.contains('-'));
        let is_above =
            name.and_then(|name| name.parse().ok()).is_some_and(|name| self.after_root.contains(&name));
        assert!(
            !is_write || !self.is_tagged || sets_tag || is_list || is_above || asked.op.is_none(),
            "a request that writes follows the tag of the root: {shown}"
        );
        if let Some(position) = position(&asked.head.headers)
            && let Some(id) = path.rsplit('/').next().and_then(|id| id.parse().ok())
            && let Some((_, stored)) = registry.uploads.get(&id)
            && stored.len() as u64 != position
        {
            let mistake = || format!("bytes from {position} on, after {}: {shown}", stored.len());
            self.mistake.get_or_insert_with(mistake);
        }
        let digest = name.and_then(|name| name.parse().ok()).filter(|_| !sets_tag);
        if digest.is_some_and(|digest| self.documents.contains(&digest)) {
            self.needless.get_or_insert_with(|| shown.clone());
        }
        if name.is_some() && asked.is_complete() {
            self.receive_manifest(registry, asked.arrived, &shown);
            self.is_tagged |= sets_tag;
            let root = self.root.as_ref().filter(|_| sets_tag);
            if let Some((root, algorithm)) = root.and_then(|root| Some((root, root.algorithm()?))) {
                assert_eq!(Digest::of(algorithm, asked.arrived), *root, "a tag of another document: {shown}");
            }
        }
    }

    fn sets_tag(&self, name: &str, query: Option<&str>) -> bool {
        let mut parameters =
            query.unwrap_or_default().split('&').filter_map(|pair| pair.strip_prefix("tag="));
        self.tags.iter().any(|tag| tag == name) || parameters.any(|tag| self.tags.iter().any(|of| of == tag))
    }

    /// A document arrives after everything that it refers to.
    fn receive_manifest(&mut self, registry: &WritableRegistry, bytes: &[u8], shown: &str) {
        let document: Value = serde_json::from_slice(bytes).expect("a document that is sent is JSON");
        let is_here = |digest: &str| {
            let key = (self.repository.clone(), digest.parse().expect("a descriptor has a digest"));
            registry.blobs.contains_key(&key)
                || registry.manifests.contains_key(&key)
                || self.claims.contains(digest)
                || self.trusts
        };
        // A registry that has a document has everything that it refers to.
        let own = Digest::of(oci_proto::Algorithm::Sha256, bytes).to_string();
        if is_here(&own) {
            return;
        }
        let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
        let named = list("manifests").into_iter().chain(list("layers"));
        for named in named.chain(document.get("config").cloned()) {
            let digest = named["digest"].as_str().expect("a descriptor has a digest");
            assert!(is_here(digest), "a document arrives before {digest}, to which it refers: {shown}");
        }
    }

    /// Takes a response. `is_odd` says that it is not the usual one.
    pub(super) fn answered(&mut self, asked: &Asked<'_>, answer: Option<&Answer>, is_odd: bool) {
        self.requests += 1;
        let is_success = answer.is_some_and(|answer| answer.status.is_success());
        let is_absent = answer.is_some_and(|answer| answer.status == StatusCode::NOT_FOUND);
        let is_look = [Method::GET, Method::HEAD].contains(&asked.head.method);
        let is_usual = is_success || is_absent && is_look;
        self.causes += usize::from(!is_usual || is_odd || answer.is_some_and(|answer| answer.cut.is_some()));
        // A success says nothing about bytes that were not sent.
        let Some(answer) = answer.filter(|_| is_success && asked.is_complete()) else { return };
        let announced = answer.headers.get("docker-content-digest");
        self.claims.extend(announced.and_then(|digest| Some(digest.to_str().ok()?.to_owned())));
        let uri = &asked.head.uri;
        let closes = asked.head.method == Method::PUT && uri.path().contains("/blobs/uploads/");
        let has_digest = uri.query().is_some_and(|query| query.contains("digest="));
        if !uri.path().starts_with("/v2/team/") || closes && !has_digest {
            self.trusts = true;
        }
        self.claims.extend(uri.path().rsplit('/').next().map(ToOwned::to_owned));
        let parameters = uri.query().unwrap_or_default().split('&');
        let named =
            parameters.filter_map(|pair| pair.strip_prefix("digest=").or(pair.strip_prefix("mount=")));
        self.claims.extend(named.map(|digest| digest.replace("%3A", ":")));
    }

    /// Notes that an upload was closed with other content than it was for.
    pub(super) fn note_refusal(&mut self, asked: &Asked<'_>, answer: &Answer) {
        if answer.status == StatusCode::BAD_REQUEST && contains(&answer.body, b"DIGEST_INVALID") {
            let mistake = || format!("wrong content: {} {}", asked.head.method, asked.head.uri);
            self.mistake.get_or_insert_with(mistake);
        }
    }
}

/// The position of a chunk in its blob.
fn position(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().expect("a range is text");
    range.split('-').next()?.parse().ok()
}

fn contains(body: &Bytes, text: &[u8]) -> bool {
    body.windows(text.len()).any(|window| window == text)
}

//! Registries that can be written to: their habits, and their lists.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, LINK, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use oci_proto::{Algorithm, Digest};
use serde_json::Value;

use crate::simulation::answers::Asked;
use crate::simulation::choices::Choices;
use crate::simulation::content::Content;
use crate::simulation::registry::Registry;
use crate::simulation::secrets::{SIGNATURE, mark};
use crate::transcript::parse::Answer;
use crate::writable::{Habits, Response, WritableRegistry, knows};

/// The repositories that can be written to.
pub(super) const REPOSITORIES: [&str; 2] = ["team/new-a", "team/new-b"];
/// The server of some uploads.
const UPLOADS: &str = "upload.example";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry that can be written to.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) registry: WritableRegistry,
    number: usize,
    /// The maximum number of entries on a page of a list.
    page: usize,
    /// Whether it redirects the payloads of uploads.
    redirects: bool,
    /// Whether a page of a list begins with the last entry of the one before.
    overlaps: bool,
}

/// Whether a URL belongs to a repository that can be written to.
pub(super) fn is_writable(uri: &Uri) -> bool {
    uri.path().contains("/team/new-")
}

impl Store {
    /// A registry from which the content can be mounted. Its repositories have some tags and referrers.
    pub(super) fn draw(number: usize, content: &Content, choices: &mut Choices<'_>) -> Self {
        let mut habits = Habits::default();
        let drawn = usize::from(choices.byte());
        let is = |bit: usize| drawn >> bit & 1 == 1;
        match choices.below(8) {
            1 => habits.only_chunks = true,
            2 => habits.only_whole = true,
            3 | 4 => habits.max_body = Some(256),
            5 => habits.max_body = Some(700),
            _ => {}
        }
        (habits.refuses_mounts, habits.range_of_chunk) = (is(0), is(1));
        (habits.forgets_broken_uploads, habits.relative_locations) = (is(2), is(3));
        (habits.without_referrers, habits.without_subject_header) = (is(4), is(5));
        // Without a condition, one of two entries that are written at the same time may be lost.
        (habits.tag_parameters, habits.etags) = (is(6), true);
        habits.upload_host = is(7).then_some(UPLOADS);
        let page = choices.pick(&[100, 2, 3, 1]);
        let last = choices.below(8);
        let (redirects, overlaps) = (last % 4 == 3, last / 4 == 1);
        let mut store = Self { registry: WritableRegistry::new(habits), number, page, redirects, overlaps };
        for (digest, bytes) in content.memory.contents() {
            if content.serves(digest).as_ref() == Some(bytes) {
                let key = (Registry::REPOSITORY.to_owned(), digest.clone());
                store.registry.blobs.insert(key, bytes.clone());
            }
        }
        for repository in REPOSITORIES {
            store.fill(repository, &content.root.digest);
        }
        store
    }

    /// Adds documents without content, whose subject is the root, and tags of one of them.
    fn fill(&mut self, repository: &str, subject: &Digest) {
        let mut entries = Vec::new();
        for number in 0..3 {
            let document = referrer(subject, &format!("old{number}"));
            let digest = Digest::of(Algorithm::Sha256, &document);
            let size = document.len();
            entries.push(serde_json::json!({
                "mediaType": INDEX, "digest": digest.to_string(), "size": size,
                "artifactType": "application/vnd.example.note",
            }));
            self.add(repository, &format!("old{number}"), document);
        }
        if self.registry.habits.without_referrers {
            let index = serde_json::json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
            self.add(repository, &fallback_tag(subject), index.to_string().into());
        }
    }

    fn add(&mut self, repository: &str, tag: &str, document: Bytes) {
        let digest = Digest::of(Algorithm::Sha256, &document);
        let key = (repository.to_owned(), digest.clone());
        self.registry.manifests.insert(key, (INDEX.to_owned(), document));
        self.registry.tags.push((repository.to_owned(), tag.to_owned(), digest));
    }

    /// All content of a repository. A document has a digest of each algorithm.
    pub(super) fn contents(&self, repository: &str) -> BTreeSet<Digest> {
        let mut contents = self.blobs(repository);
        for ((_, digest), (_, bytes)) in
            self.registry.manifests.iter().filter(|((of, _), _)| of == repository)
        {
            contents.insert(digest.clone());
            contents.extend(Algorithm::ALL.map(|algorithm| Digest::of(algorithm, bytes)));
        }
        contents
    }

    pub(super) fn blobs(&self, repository: &str) -> BTreeSet<Digest> {
        let blobs = self.registry.blobs.keys().filter(|(of, _)| of == repository);
        blobs.map(|(_, digest)| digest.clone()).collect()
    }

    pub(super) fn documents(&self, repository: &str) -> BTreeSet<Digest> {
        let documents = self.registry.manifests.keys().filter(|(of, _)| of == repository);
        documents.map(|(_, digest)| digest.clone()).collect()
    }

    /// The tags of a repository, sorted.
    pub(super) fn tags(&self, repository: &str) -> BTreeSet<String> {
        let tags = self.registry.tags.iter().filter(|(of, ..)| of == repository);
        tags.map(|(_, tag, _)| tag.clone()).collect()
    }

    /// The digests of the manifests whose subject is this one, as far as they are listed.
    pub(super) fn referrers(&self, repository: &str, subject: &Digest) -> BTreeSet<String> {
        let documents = self.registry.manifests.iter().filter(|((of, _), _)| of == repository);
        if !self.registry.habits.without_referrers {
            let refers = |bytes: &Bytes| {
                let document: Value = serde_json::from_slice(bytes).expect("a stored document is JSON");
                document["subject"]["digest"].as_str() == Some(&subject.to_string())
            };
            let referrers = documents.filter(|(_, (_, bytes))| refers(bytes));
            return referrers.map(|((_, digest), _)| digest.to_string()).collect();
        }
        let Some(index) = self.registry.tagged(repository, &fallback_tag(subject)) else {
            return BTreeSet::new();
        };
        let (_, index) = &self.registry.manifests[&(repository.to_owned(), index.clone())];
        let index: Value = serde_json::from_slice(index).expect("a stored document is JSON");
        let entries = index["manifests"].as_array().cloned().unwrap_or_default();
        entries.iter().filter_map(|entry| Some(entry["digest"].as_str()?.to_owned())).collect()
    }

    /// The response that does not depend on the payload, if there is one.
    pub(super) fn early(&self, asked: &Asked<'_>) -> Option<Answer> {
        let request = request(asked);
        if !knows(&request) {
            return None;
        }
        let uri = &asked.head.uri;
        let is_payload = asked.length() > 0 && uri.path().contains("/blobs/uploads/");
        if is_payload && self.redirects && uri.host() != Some(UPLOADS) {
            let rest = uri.path_and_query().map(ToString::to_string).unwrap_or_default();
            let mut answer = Answer::new(StatusCode::TEMPORARY_REDIRECT, HeaderMap::new(), Bytes::new());
            let location = format!("https://{UPLOADS}{rest}").parse().expect("a URL is a valid header value");
            answer.headers.insert(LOCATION, location);
            return Some(answer);
        }
        self.registry.refuse_early(&request).map(answer)
    }

    /// The response to a request whose payload has arrived.
    pub(super) fn respond(&mut self, asked: &Asked<'_>) -> Answer {
        let (request, uri) = (request(asked), &asked.head.uri);
        if let Some(answer) = self.early(asked) {
            return answer;
        }
        if !knows(&request) {
            return Answer::new(StatusCode::NOT_FOUND, HeaderMap::new(), Bytes::new());
        }
        if let Some(repository) =
            uri.path().strip_prefix("/v2/").and_then(|path| path.strip_suffix("/tags/list"))
        {
            let tags: Vec<String> = self.tags(repository).into_iter().collect();
            let (page, headers) = self.turn(uri, &tags, String::as_str);
            let body = serde_json::json!({"name": repository, "tags": page});
            return Answer::new(StatusCode::OK, headers, body.to_string().into());
        }
        let mut answer = answer(self.registry.respond(&request, asked.arrived));
        if uri.path().contains("/referrers/") && answer.status == StatusCode::OK {
            let mut index: Value = serde_json::from_slice(&answer.body).expect("a list is JSON");
            let entries = index["manifests"].as_array().cloned().unwrap_or_default();
            let (page, headers) =
                self.turn(uri, &entries, |entry| entry["digest"].as_str().unwrap_or_default());
            index["manifests"] = page.into();
            answer.headers.extend(headers);
            answer.body = index.to_string().into();
            answer.headers.insert(CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
        }
        if let Some(location) = answer.headers.get(LOCATION) {
            let location = location.to_str().expect("a Location is text");
            let signed = format!("{location}&sig={SIGNATURE}&{}", mark(self.number));
            answer.headers.insert(LOCATION, signed.parse().expect("a URL is a valid header value"));
        }
        if asked.head.method == Method::HEAD {
            answer.headers.insert(CONTENT_LENGTH, answer.body.len().into());
            answer.body = Bytes::new();
        }
        answer
    }

    /// A page of a list, with the link to the next one.
    fn turn<T: Clone>(&self, uri: &Uri, entries: &[T], name: impl Fn(&T) -> &str) -> (Vec<T>, HeaderMap) {
        let parameter = |name: &str| {
            let mut pairs = uri.query().unwrap_or_default().split('&');
            pairs.find_map(|pair| pair.strip_prefix(name))
        };
        // Entries may be added while the list is read.
        let last = parameter("last=").and_then(|last| entries.iter().position(|entry| name(entry) == last));
        let start = last.map_or(0, |last| last + 1);
        let most = parameter("n=").and_then(|most| most.parse().ok()).unwrap_or(self.page);
        let end = entries.len().min(start + most.clamp(1, self.page));
        let mut headers = HeaderMap::new();
        if start < end && end < entries.len() {
            let (path, last, mark) = (uri.path(), name(&entries[end - 1]), mark(self.number));
            let link = format!("<{path}?last={last}&{mark}>; rel=\"next\"");
            headers.insert(LINK, link.parse().expect("a link is a valid header value"));
        }
        let repeated = usize::from(self.overlaps && start < end).min(start);
        (entries[start - repeated..end].to_vec(), headers)
    }

    /// Takes the beginning of a payload whose connection breaks.
    pub(super) fn cut_off(&mut self, asked: &Asked<'_>) {
        let request = request(asked);
        let Some(id) = upload(&asked.head.uri).filter(|_| knows(&request)) else { return };
        let Some((_, stored)) = self.registry.uploads.get_mut(&id) else { return };
        let start = asked.head.headers.get(CONTENT_RANGE).and_then(|range| {
            range.to_str().expect("a range is text").split('-').next()?.parse::<usize>().ok()
        });
        match start {
            // A whole blob replaces what was there.
            None => stored.clear(),
            Some(start) if start == stored.len() => {}
            Some(_) => return,
        }
        // The range `0-0` in a status means no bytes too.
        if stored.len() + asked.arrived.len() == 1 {
            return;
        }
        self.registry.cut_off(&request, asked.arrived);
    }

    /// Forgets an upload. Returns whether there was one.
    pub(super) fn forget(&mut self, uri: &Uri) -> bool {
        upload(uri).is_some_and(|id| self.registry.uploads.remove(&id).is_some())
    }
}

/// A document without content, whose subject is this manifest.
pub(super) fn referrer(subject: &Digest, name: &str) -> Bytes {
    let document = serde_json::json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": {"name": name},
        "artifactType": "application/vnd.example.note",
        "subject": {"mediaType": INDEX, "digest": subject.to_string(), "size": 7},
    });
    document.to_string().into()
}

pub(super) fn fallback_tag(subject: &Digest) -> String {
    let tag = subject.to_string().replace(':', "-");
    tag[..tag.len().min("sha512-".len() + 64)].to_owned()
}

/// The number of an upload in its URL.
fn upload(uri: &Uri) -> Option<u64> {
    uri.path().split_once("/blobs/uploads/")?.1.parse().ok()
}

fn request(asked: &Asked<'_>) -> Request<()> {
    Request::from_parts(asked.head.clone(), ())
}

fn answer(response: Response) -> Answer {
    let mut answer = Answer::new(response.status, response.headers, response.body);
    if answer.status == StatusCode::OK && !answer.headers.contains_key(CONTENT_LENGTH) {
        answer.headers.insert(CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
    }
    answer
}

//! The body of the fuzz target `registry`.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Request, Response};
use oci_proto::server::{EmbeddedRegistry, Policy};
use oci_proto::{Algorithm, Digest, Time};

use crate::simulation::choices::Choices;

const REPOSITORIES: [&str; 2] = ["a", "b/c"];
const TAGS: [&str; 2] = ["1", "latest"];
const CONTENTS: [&[u8]; 4] = [b"", b"{}", b"content", b"other content"];
const INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
const MAX_STEPS: usize = 60;

/// A registry answers every request, and has what a model of it has: the blobs, manifests and tags that were pushed and
/// not deleted, and the bytes of uploads.
pub fn registry(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut run = Run { registry: EmbeddedRegistry::in_memory(Policy::open(), 1), model: Model::default() };
    for _ in 0..MAX_STEPS {
        if choices.is_empty() {
            break;
        }
        run.step(&mut choices);
    }
    run.compare();
}

/// What the registry must have.
#[derive(Debug, Default)]
struct Model {
    blobs: BTreeMap<(&'static str, Digest), Vec<u8>>,
    manifests: BTreeMap<(&'static str, Digest), String>,
    tags: BTreeMap<(&'static str, &'static str), Digest>,
    /// The uploads, with their locations and bytes; `None` once they have ended.
    uploads: Vec<(&'static str, String, Option<Vec<u8>>)>,
}

struct Run {
    registry: EmbeddedRegistry,
    model: Model,
}

impl Run {
    fn step(&mut self, choices: &mut Choices<'_>) {
        let repository = choices.pick(&REPOSITORIES);
        let uploads = format!("/v2/{repository}/blobs/uploads/");
        match choices.below(9) {
            0 => self.begin(repository, &uploads),
            1 => {
                let (body, range) = (choices.pick(&CONTENTS), choices.below(3));
                self.append(choices, body, range);
            }
            2 => self.close(choices),
            3 => {
                let (content, digest, is_right) = drawn(choices);
                let pushed = self.ask("POST", &format!("{uploads}?digest={digest}"), content, None);
                assert_eq!(pushed.status(), if is_right { 201 } else { 400 });
                if is_right {
                    self.model.blobs.insert((repository, digest), content.to_vec());
                }
            }
            4 => self.mount(choices, repository, &uploads),
            5 => self.push_manifest(choices, repository),
            6 => self.delete(choices, repository),
            7 => {
                let Some(at) = self.upload(choices) else { return };
                let (_, location, bytes) = &mut self.model.uploads[at];
                let (location, is_open) = (location.clone(), bytes.take().is_some());
                let ended = self.ask("DELETE", &location, b"", None);
                assert_eq!(ended.status(), if is_open { 204 } else { 404 });
            }
            _ => {
                let Some(at) = self.upload(choices) else { return };
                let (_, location, bytes) = &self.model.uploads[at];
                let (location, length) = (location.clone(), bytes.as_ref().map(Vec::len));
                let status = self.ask("GET", &location, b"", None);
                let range = length.map(|length| format!("0-{}", length.saturating_sub(1)));
                let shown =
                    status.headers().get("range").map(|range| range.to_str().expect("text").to_owned());
                assert_eq!(
                    (status.status().as_u16(), shown),
                    (if length.is_some() { 204 } else { 404 }, range)
                );
            }
        }
    }

    fn begin(&mut self, repository: &'static str, target: &str) {
        let begun = self.ask("POST", target, b"", None);
        assert_eq!(begun.status(), 202);
        let location = begun.headers()["location"].to_str().expect("text").to_owned();
        self.model.uploads.push((repository, location, Some(Vec::new())));
    }

    /// Sends a chunk: with `range` 0 without its position, with 1 at the right one, and with 2 at a wrong one.
    fn append(&mut self, choices: &mut Choices<'_>, body: &[u8], range: usize) {
        let Some(at) = self.upload(choices) else { return };
        let (_, location, bytes) = &self.model.uploads[at];
        let start = bytes.as_ref().map_or(0, Vec::len) + usize::from(range == 2);
        let shown = (range > 0 && !body.is_empty()).then(|| format!("{start}-{}", start + body.len() - 1));
        let (location, is_open) = (location.clone(), bytes.is_some());
        let sent = self.ask("PATCH", &location, body, shown.as_deref());
        let is_wrong = range == 2 && shown.is_some();
        let expected = match (is_open, is_wrong) {
            (false, _) => 404,
            (true, true) => 416,
            (true, false) => 202,
        };
        assert_eq!(sent.status(), expected);
        if let (_, _, Some(bytes)) = &mut self.model.uploads[at]
            && !is_wrong
        {
            bytes.extend_from_slice(body);
        }
    }

    fn close(&mut self, choices: &mut Choices<'_>) {
        let Some(at) = self.upload(choices) else { return };
        let (body, algorithm, is_right) = (choices.pick(&CONTENTS), algorithm(choices), !choices.once_in(4));
        let (repository, location, bytes) = &mut self.model.uploads[at];
        let (repository, location) = (*repository, location.clone());
        let whole = bytes.take().map(|mut bytes| {
            bytes.extend_from_slice(body);
            bytes
        });
        let named = if is_right { whole.as_deref().unwrap_or_default() } else { b"wrong" };
        let digest = Digest::of(algorithm, named);
        let closed = self.ask("PUT", &format!("{location}?digest={digest}"), body, None);
        let expected = match (&whole, is_right) {
            (None, _) => 404,
            (Some(_), true) => 201,
            (Some(_), false) => 400,
        };
        assert_eq!(closed.status(), expected);
        if let Some(whole) = whole.filter(|_| is_right) {
            self.model.blobs.insert((repository, digest), whole);
        }
    }

    fn mount(&mut self, choices: &mut Choices<'_>, repository: &'static str, uploads: &str) {
        let (_, digest, _) = drawn(choices);
        let from = choices.flip().then(|| choices.pick(&REPOSITORIES));
        let query = from.map_or(String::new(), |from| format!("&from={from}"));
        let has = |of: &&str| self.model.blobs.get(&(*of, digest.clone())).cloned();
        let found = match from {
            Some(from) => has(&from),
            None => REPOSITORIES.iter().find_map(has),
        };
        match found {
            Some(bytes) => {
                let mounted = self.ask("POST", &format!("{uploads}?mount={digest}{query}"), b"", None);
                assert_eq!(mounted.status(), 201);
                self.model.blobs.insert((repository, digest), bytes);
            }
            None => self.begin(repository, &format!("{uploads}?mount={digest}{query}")),
        }
    }

    fn push_manifest(&mut self, choices: &mut Choices<'_>, repository: &'static str) {
        let (entries, is_valid) = choices.pick(&[("[]", true), ("[ ]", true), ("[", false), ("[1]", false)]);
        let document = INDEX.replace("[]", entries);
        let tag = choices.pick(&TAGS);
        let (digest, is_right, target) = if choices.flip() {
            (Digest::of(Algorithm::Sha256, document.as_bytes()), true, tag.to_owned())
        } else {
            let (algorithm, is_right) = (algorithm(choices), !choices.once_in(4));
            let digest = Digest::of(algorithm, if is_right { document.as_bytes() } else { b"wrong" });
            let target = format!("{digest}?tag={tag}");
            (digest, is_right, target)
        };
        let target = format!("/v2/{repository}/manifests/{target}");
        let pushed = self.ask("PUT", &target, document.as_bytes(), None);
        assert_eq!(pushed.status(), if is_valid && is_right { 201 } else { 400 }, "{document}");
        if pushed.status() == 201 {
            self.model.manifests.insert((repository, digest.clone()), document);
            self.model.tags.insert((repository, tag), digest);
        }
    }

    fn delete(&mut self, choices: &mut Choices<'_>, repository: &'static str) {
        let (target, was_there) = match choices.below(3) {
            0 => {
                let tag = choices.pick(&TAGS);
                let was_there = self.model.tags.remove(&(repository, tag)).is_some();
                (format!("manifests/{tag}"), was_there)
            }
            1 => {
                let digest =
                    self.model.manifests.keys().nth(choices.below(4)).map(|(_, digest)| digest.clone());
                let digest = digest.unwrap_or_else(|| Digest::of(Algorithm::Sha256, b"absent"));
                let was_there = self.model.manifests.remove(&(repository, digest.clone())).is_some();
                self.model.tags.retain(|(of, _), named| *of != repository || *named != digest);
                (format!("manifests/{digest}"), was_there)
            }
            _ => {
                let (_, digest, _) = drawn(choices);
                let was_there = self.model.blobs.remove(&(repository, digest.clone())).is_some();
                (format!("blobs/{digest}"), was_there)
            }
        };
        let deleted = self.ask("DELETE", &format!("/v2/{repository}/{target}"), b"", None);
        assert_eq!(deleted.status(), if was_there { 202 } else { 404 });
    }

    fn upload(&self, choices: &mut Choices<'_>) -> Option<usize> {
        let count = self.model.uploads.len();
        (count > 0).then(|| choices.below(count))
    }

    /// The registry has exactly what the model has.
    fn compare(&mut self) {
        let Model { blobs, manifests, tags, .. } = std::mem::take(&mut self.model);
        for repository in REPOSITORIES {
            for (digest, content) in contents() {
                let read = self.ask("GET", &format!("/v2/{repository}/blobs/{digest}"), b"", None);
                let is_there = blobs.contains_key(&(repository, digest));
                assert_eq!(read.status(), if is_there { 200 } else { 404 });
                assert!(!is_there || read.body() == content);
            }
            let list = self.ask("GET", &format!("/v2/{repository}/tags/list"), b"", None);
            let listed =
                serde_json::from_slice::<serde_json::Value>(list.body()).expect("JSON")["tags"].clone();
            let expected: Vec<_> =
                tags.keys().filter(|(of, _)| *of == repository).map(|(_, tag)| *tag).collect();
            assert!(list.status() == 404 && expected.is_empty() || listed == serde_json::json!(expected));
        }
        for ((repository, digest), content) in &blobs {
            let read = self.ask("GET", &format!("/v2/{repository}/blobs/{digest}"), b"", None);
            assert_eq!((read.status().as_u16(), read.body().as_ref()), (200, content.as_slice()));
        }
        for ((repository, digest), document) in &manifests {
            let read = self.ask("GET", &format!("/v2/{repository}/manifests/{digest}"), b"", None);
            assert_eq!((read.status().as_u16(), read.body().as_ref()), (200, document.as_bytes()));
        }
        for ((repository, tag), digest) in &tags {
            let read = self.ask("HEAD", &format!("/v2/{repository}/manifests/{tag}"), b"", None);
            assert_eq!(read.headers()["docker-content-digest"], digest.to_string());
        }
    }

    fn ask(&mut self, method: &str, target: &str, body: &[u8], range: Option<&str>) -> Response<Bytes> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = Request::builder().method(method).uri(target).header("host", "x");
        if let Some(range) = range {
            request = request.header("content-range", range);
        }
        let request = request.body(Bytes::copy_from_slice(body)).expect("a request");
        self.registry.respond(Time::ZERO, request)
    }
}

fn algorithm(choices: &mut Choices<'_>) -> Algorithm {
    if choices.once_in(3) { Algorithm::Sha512 } else { Algorithm::Sha256 }
}

/// Draws a content, and its digest or a wrong one.
fn drawn(choices: &mut Choices<'_>) -> (&'static [u8], Digest, bool) {
    let (content, algorithm, is_right) = (choices.pick(&CONTENTS), algorithm(choices), !choices.once_in(4));
    (content, Digest::of(algorithm, if is_right { content } else { b"wrong" }), is_right)
}

fn contents() -> impl Iterator<Item = (Digest, &'static [u8])> {
    let algorithms = [Algorithm::Sha256, Algorithm::Sha512].into_iter();
    algorithms.flat_map(|algorithm| CONTENTS.map(|content| (Digest::of(algorithm, content), content)))
}

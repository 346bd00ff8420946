//! A model of a registry that can be written to, with the habits and the faults of real ones.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use oci_proto::{Algorithm, Digest, Evidence, Kind, Manifest};

/// What a registry accepts and how it answers.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is another habit of a registry")]
#[non_exhaustive]
pub struct Habits {
    /// The largest body that it accepts.
    pub max_body: Option<usize>,
    /// It refuses blobs that are sent whole.
    pub only_chunks: bool,
    /// It refuses chunks.
    pub only_whole: bool,
    /// It refuses mounts.
    pub refuses_mounts: bool,
    /// Its Range header after a chunk covers that chunk alone.
    pub range_of_chunk: bool,
    /// It forgets an upload whose request was cut off.
    pub forgets_broken_uploads: bool,
    /// The URLs of its uploads are relative.
    pub relative_locations: bool,
    /// It knows neither subjects nor referrers.
    pub without_referrers: bool,
    /// It lists referrers, but does not say so when a document with a subject is stored.
    pub without_subject_header: bool,
    /// It sets the tags in the query of a PUT by digest.
    pub tag_parameters: bool,
    /// It sends an `ETag` with manifests, and checks `If-Match`.
    pub etags: bool,
    /// Its uploads are at this host.
    pub upload_host: Option<&'static str>,
    /// It says that it has stored what it has not.
    pub forgets: Option<Forgets>,
    /// A tag that is set cannot be set again.
    pub immutable_tags: bool,
    /// It refuses layers with URLs as distribution does, with 500.
    pub refuses_urls: bool,
    /// Its response to HEAD of a manifest.
    pub head: Option<u16>,
}

/// What a registry does not store, although it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a registry stores nothing else")]
pub enum Forgets {
    /// A blob. It also does not check whether the content of a manifest is there.
    Blobs,
    /// Manifests.
    Manifests,
    /// Tags.
    Tags,
}

/// A response.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "tests build their own")]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A registry that can be written to.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WritableRegistry {
    /// What it accepts.
    pub habits: Habits,
    /// The blobs of each repository.
    pub blobs: BTreeMap<(String, Digest), Bytes>,
    /// The manifests of each repository, with their types.
    pub manifests: BTreeMap<(String, Digest), (String, Bytes)>,
    /// The tags of each repository, in the order in which they were set.
    pub tags: Vec<(String, String, Digest)>,
    /// The open uploads.
    pub uploads: BTreeMap<u64, (String, Vec<u8>)>,
    /// The number of bytes of blobs that were received.
    pub received: u64,
    /// The requests, in order.
    pub requests: Vec<String>,
    next_upload: u64,
}

impl WritableRegistry {
    /// Creates an empty registry.
    pub fn new(habits: Habits) -> Self {
        Self { habits, ..Self::default() }
    }

    /// Returns the digest that a tag names.
    pub fn tagged(&self, repository: &str, tag: &str) -> Option<&Digest> {
        let of = |(of, name, _): &&(String, String, Digest)| of == repository && name == tag;
        self.tags.iter().rev().find(of).map(|(_, _, digest)| digest)
    }

    /// Takes the beginning of a payload that is cut off.
    pub fn cut_off(&mut self, request: &Request<()>, payload: &[u8]) {
        self.note(request);
        if self.refuse_early(request).is_some() {
            return;
        }
        let Some(id) = upload_id(request.uri().path()) else { return };
        if self.habits.forgets_broken_uploads {
            self.uploads.remove(&id);
        } else if let Some((_, bytes)) = self.uploads.get_mut(&id) {
            bytes.extend_from_slice(payload);
            self.received += payload.len() as u64;
        }
    }

    /// Returns the response that does not depend on the payload, if there is one.
    pub fn refuse_early(&self, request: &Request<()>) -> Option<Response> {
        let length = number(request.headers(), &http::header::CONTENT_LENGTH).unwrap_or(0);
        let is_whole = !request.headers().contains_key(CONTENT_RANGE);
        let is_blob = upload_id(request.uri().path()).is_some();
        let is_put = request.method() == Method::PUT;
        if is_blob && self.habits.max_body.is_some_and(|max| length > max as u64) {
            return Some(error(413, "SIZE_INVALID"));
        }
        if is_blob && is_put && is_whole && length > 0 && self.habits.only_chunks {
            return Some(error(405, "UNSUPPORTED"));
        }
        if is_blob && request.method() == Method::PATCH && self.habits.only_whole {
            return Some(error(405, "UNSUPPORTED"));
        }
        None
    }

    /// Answers a request.
    pub fn respond(&mut self, request: &Request<()>, payload: &[u8]) -> Response {
        self.note(request);
        if let Some(refused) = self.refuse_early(request) {
            return refused;
        }
        let path = request.uri().path().trim_start_matches("/v2/").to_owned();
        let query: BTreeMap<&str, &str> = request
            .uri()
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        if let Some((repository, _)) = path.split_once("/blobs/uploads/") {
            return self.upload(request, repository, &query, payload);
        }
        if let Some((repository, digest)) = path.split_once("/blobs/") {
            let found = self.blobs.get(&(repository.to_owned(), digest.parse().expect("a digest")));
            let Some(bytes) = found else { return error(404, "BLOB_UNKNOWN") };
            let bytes = bytes.clone();
            let range = request.headers().get(RANGE).map(|range| {
                let text = range.to_str().expect("text").trim_start_matches("bytes=").to_owned();
                text.trim_end_matches('-').parse::<usize>().expect("an open range")
            });
            let start = range.unwrap_or(0);
            let mut response = ok(if range.is_some() { 206 } else { 200 });
            if range.is_some() {
                let text = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
                response.headers.insert(CONTENT_RANGE, text.parse().expect("a header"));
            }
            response.body = bytes.slice(start..);
            return response;
        }
        if let Some((repository, name)) = path.split_once("/manifests/") {
            return self.manifest(request, repository, name, payload);
        }
        if let Some((repository, subject)) = path.split_once("/referrers/") {
            return self.referrers(repository, subject);
        }
        error(404, "UNKNOWN")
    }

    fn upload(
        &mut self,
        request: &Request<()>,
        repository: &str,
        query: &BTreeMap<&str, &str>,
        payload: &[u8],
    ) -> Response {
        let path = request.uri().path();
        let Some(id) = upload_id(path) else {
            if let (Some(digest), Some(from)) = (query.get("mount"), query.get("from")) {
                let digest: Digest = decoded(digest).parse().expect("a digest");
                let from = decoded(from);
                if self.habits.refuses_mounts {
                    return error(405, "UNSUPPORTED");
                }
                if let Some(bytes) = self.blobs.get(&(from, digest.clone())).cloned() {
                    self.blobs.insert((repository.to_owned(), digest), bytes);
                    return ok(201);
                }
            }
            self.next_upload += 1;
            self.uploads.insert(self.next_upload, (repository.to_owned(), Vec::new()));
            return self.located(202, repository, self.next_upload, 0);
        };
        let Some((_, stored)) = self.uploads.get_mut(&id) else { return error(404, "BLOB_UPLOAD_UNKNOWN") };
        match *request.method() {
            Method::GET => {
                let length = stored.len();
                self.located(204, repository, id, length)
            }
            Method::DELETE => {
                self.uploads.remove(&id);
                ok(204)
            }
            _ => {
                let range = request.headers().get(CONTENT_RANGE).map(|range| {
                    let text = range.to_str().expect("text");
                    let (first, last) = text.split_once('-').expect("a range");
                    (first.parse::<usize>().expect("a number"), last.parse::<usize>().expect("a number"))
                });
                if let Some((first, last)) = range {
                    assert_eq!(last + 1 - first, payload.len(), "Content-Range and Content-Length disagree");
                    if first != stored.len() {
                        let length = stored.len();
                        return Response {
                            status: StatusCode::RANGE_NOT_SATISFIABLE,
                            ..self.located(204, repository, id, length)
                        };
                    }
                } else if !payload.is_empty() {
                    // A whole blob replaces what was there.
                    stored.clear();
                }
                self.received += payload.len() as u64;
                stored.extend_from_slice(payload);
                let length = if self.habits.range_of_chunk { payload.len() } else { stored.len() };
                if *request.method() == Method::PATCH {
                    return self.located(202, repository, id, length);
                }
                let digest: Digest =
                    decoded(query.get("digest").expect("a digest")).parse().expect("a digest");
                let algorithm = digest.algorithm().expect("a known algorithm");
                let (_, bytes) = self.uploads.remove(&id).expect("it is there");
                if Digest::of(algorithm, &bytes) != digest {
                    return error(400, "DIGEST_INVALID");
                }
                let mut response = ok(201);
                response
                    .headers
                    .insert("docker-content-digest", digest.to_string().parse().expect("a header"));
                if self.habits.forgets != Some(Forgets::Blobs) {
                    self.blobs.insert((repository.to_owned(), digest), bytes.into());
                }
                response
            }
        }
    }

    fn manifest(&mut self, request: &Request<()>, repository: &str, name: &str, payload: &[u8]) -> Response {
        let named = match name.parse::<Digest>() {
            Ok(digest) => Some(digest),
            Err(_) => self.tagged(repository, name).cloned(),
        };
        if *request.method() == Method::PUT {
            let algorithm =
                name.parse::<Digest>().ok().and_then(|d| d.algorithm()).unwrap_or(Algorithm::Sha256);
            let digest = Digest::of(algorithm, payload);
            let content_type = request.headers()[CONTENT_TYPE].to_str().expect("text").to_owned();
            let evidence = Evidence { content_type: Some(&content_type), ..Evidence::default() };
            let manifest =
                Manifest::read(Bytes::copy_from_slice(payload), evidence).expect("a valid manifest");
            if self.habits.forgets.is_none() && !self.has_children(repository, &manifest) {
                return error(404, "MANIFEST_BLOB_UNKNOWN");
            }
            let has_urls = manifest.children().any(|(_, child)| child.urls().next().is_some());
            if self.habits.refuses_urls && has_urls {
                let mut refused = error(500, "MANIFEST_BLOB_UNKNOWN");
                refused.body = r#"{"errors":[{"code":"UNKNOWN","message":"invalid URL on layer"},
                    {"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#
                    .into();
                return refused;
            }
            if let Some(version) = request.headers().get(IF_MATCH)
                && self.habits.etags
                && named.as_ref().map(etag).as_deref() != version.to_str().ok()
            {
                return error(412, "DENIED");
            }
            if self.habits.immutable_tags && self.tagged(repository, name).is_some() {
                return error(400, "TAG_INVALID");
            }
            if request.headers().contains_key(IF_NONE_MATCH) && self.habits.etags && named.is_some() {
                return error(412, "DENIED");
            }
            let mut response = ok(201);
            response.headers.insert("docker-content-digest", digest.to_string().parse().expect("a header"));
            if let Some(subject) = manifest.subject()
                && !self.habits.without_referrers
                && !self.habits.without_subject_header
            {
                let subject = subject.digest().to_string();
                response.headers.insert("oci-subject", subject.parse().expect("a header"));
            }
            if self.habits.forgets == Some(Forgets::Manifests) {
                return response;
            }
            self.manifests.insert(
                (repository.to_owned(), digest.clone()),
                (content_type, Bytes::copy_from_slice(payload)),
            );
            let mut tags: Vec<&str> = Vec::new();
            if !name.contains(':') {
                tags.push(name);
            } else if self.habits.tag_parameters {
                let pairs = request.uri().query().unwrap_or_default().split('&');
                tags.extend(pairs.filter_map(|pair| pair.strip_prefix("tag=")));
                response.headers.insert("oci-tag", tags.join(", ").parse().expect("a header"));
            }
            if self.habits.forgets != Some(Forgets::Tags) {
                let tags =
                    tags.into_iter().map(|tag| (repository.to_owned(), tag.to_owned(), digest.clone()));
                self.tags.extend(tags);
            }
            return response;
        }
        if let Some(status) = self.habits.head.filter(|_| request.method() == Method::HEAD) {
            return ok(status);
        }
        let found = named.and_then(|digest| {
            let found = self.manifests.get(&(repository.to_owned(), digest.clone()))?;
            Some((digest, found.clone()))
        });
        let Some((digest, (content_type, bytes))) = found else { return error(404, "MANIFEST_UNKNOWN") };
        let mut response = ok(200);
        response.headers.insert(CONTENT_TYPE, content_type.parse().expect("a header"));
        response.headers.insert("docker-content-digest", digest.to_string().parse().expect("a header"));
        response.headers.insert(http::header::CONTENT_LENGTH, bytes.len().into());
        if self.habits.etags {
            response.headers.insert(ETAG, etag(&digest).parse().expect("a header"));
        }
        response.body = bytes;
        response
    }

    /// Whether everything that a manifest refers to is there: documents as manifests, and all else as blobs.
    fn has_children(&self, repository: &str, manifest: &Manifest) -> bool {
        manifest.children().all(|(_, child)| {
            let key = (repository.to_owned(), child.digest().clone());
            let is_manifest = self.manifests.contains_key(&key);
            match child.media_type().kind() {
                Kind::Image | Kind::Index => is_manifest,
                Kind::Other => {
                    self.blobs.contains_key(&key)
                        || child.media_type().is_nondistributable()
                        || manifest.kind() == Kind::Index && is_manifest
                }
            }
        })
    }

    fn referrers(&self, repository: &str, subject: &str) -> Response {
        if self.habits.without_referrers {
            return error(404, "UNKNOWN");
        }
        let entries: Vec<String> = self
            .manifests
            .iter()
            .filter(|((of, _), _)| of == repository)
            .filter_map(|((_, digest), (content_type, bytes))| {
                let evidence = Evidence { content_type: Some(content_type), ..Evidence::default() };
                let manifest = Manifest::read(bytes.clone(), evidence).ok()?;
                let is_referrer = manifest.subject()?.digest().to_string() == subject;
                is_referrer.then(|| {
                    format!(r#"{{"mediaType":"{content_type}","digest":"{digest}","size":{}}}"#, bytes.len())
                })
            })
            .collect();
        let index = "application/vnd.oci.image.index.v1+json";
        let mut response = ok(200);
        response.headers.insert(CONTENT_TYPE, HeaderValue::from_static(index));
        response.body =
            format!(r#"{{"schemaVersion":2,"mediaType":"{index}","manifests":[{}]}}"#, entries.join(","))
                .into();
        response
    }

    fn located(&self, status: u16, repository: &str, id: u64, length: usize) -> Response {
        let mut response = ok(status);
        let state = length * 7 + 1;
        let location = if let Some(host) = self.habits.upload_host {
            format!("https://{host}/v2/{repository}/blobs/uploads/{id}?_state={state}")
        } else if self.habits.relative_locations {
            format!("{id}?_state={state}")
        } else {
            format!("/v2/{repository}/blobs/uploads/{id}?_state={state}")
        };
        response.headers.insert(LOCATION, location.parse().expect("a header"));
        let range = if length == 0 { "0-0".to_owned() } else { format!("0-{}", length - 1) };
        response.headers.insert(RANGE, range.parse().expect("a header"));
        response
    }

    fn note(&mut self, request: &Request<()>) {
        self.requests.push(format!("{} {}", request.method(), request.uri()));
    }

    /// Everything that a manifest refers to is there.
    pub fn assert_whole(&self) {
        for ((repository, digest), (content_type, bytes)) in &self.manifests {
            let evidence = Evidence { content_type: Some(content_type), ..Evidence::default() };
            let manifest = Manifest::read(bytes.clone(), evidence).expect("it was valid");
            assert!(self.has_children(repository, &manifest), "{digest} refers to missing content");
        }
        let known: BTreeSet<_> =
            self.tags.iter().map(|(of, _, digest)| (of.clone(), digest.clone())).collect();
        for named in known {
            assert!(self.manifests.contains_key(&named), "a tag names missing content");
        }
    }
}

/// Whether the model knows the URL of a request. A changed Location may lead anywhere.
pub fn knows(request: &Request<()>) -> bool {
    let uri = request.uri();
    let path = uri.path().strip_prefix("/v2/").filter(|_| uri.host() != Some("elsewhere.example"));
    let Some(path) = path else { return false };
    if let Some((_, upload)) = path.split_once("/blobs/uploads/") {
        let query = uri.query().unwrap_or_default();
        let digest = query.rsplit_once("digest=").map(|(_, digest)| digest.parse::<Digest>().is_ok());
        return match request.method().as_str() {
            "POST" => upload.is_empty(),
            "PUT" => upload.parse::<u64>().is_ok() && digest == Some(true),
            _ => upload.parse::<u64>().is_ok(),
        };
    }
    path.split_once("/blobs/").is_none_or(|(_, digest)| digest.parse::<Digest>().is_ok())
}

fn upload_id(path: &str) -> Option<u64> {
    path.split_once("/blobs/uploads/")?.1.parse().ok()
}

fn etag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

fn decoded(text: &str) -> String {
    text.replace("%3A", ":").replace("%2F", "/")
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn ok(status: u16) -> Response {
    let status = StatusCode::from_u16(status).expect("a status");
    Response { status, headers: HeaderMap::new(), body: Bytes::new() }
}

fn error(status: u16, code: &str) -> Response {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"from the model"}}]}}"#);
    Response { body: body.into(), ..ok(status) }
}

//! Pushes content to a registry over HTTP as specified, independently of the crates under test.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use http::{Response, StatusCode};
use oci_proto::server::{Content as _, Memory};
use oci_proto::{Descriptor, Digest};
use serde_json::Value;
use ureq::{Agent, Body};

use crate::interop::listing::document;

/// Pushes content into one repository of a registry.
#[derive(Debug)]
pub struct Pusher<'a> {
    agent: Agent,
    registry: SocketAddr,
    repository: &'a str,
    memory: &'a Memory,
    pushed: BTreeSet<String>,
}

impl<'a> Pusher<'a> {
    /// A pusher of the content of `memory`.
    pub fn new(registry: SocketAddr, repository: &'a str, memory: &'a Memory) -> Self {
        Self { agent: agent(), registry, repository, memory, pushed: BTreeSet::new() }
    }

    /// Pushes a manifest by digest, after everything under it, and then by tag.
    ///
    /// A subject is not followed: it may be missing (image-spec, manifest.md).
    ///
    /// # Errors
    /// The request that was refused, and the response.
    pub fn push(&mut self, tag: &str, root: &Descriptor) -> Result<(), String> {
        let (digest, media_type) = (root.digest.to_string(), root.media_type.as_str());
        self.manifest(&digest, media_type)?;
        self.put_manifest(tag, &digest, media_type)
    }

    fn manifest(&mut self, digest: &str, media_type: &str) -> Result<(), String> {
        if !self.pushed.insert(digest.to_owned()) {
            return Ok(());
        }
        let document = document(self.memory, digest);
        if let Some(entries) = document["manifests"].as_array() {
            for entry in entries {
                self.manifest(text(entry, "digest"), text(entry, "mediaType"))?;
            }
        }
        let layers = document["layers"].as_array().into_iter().flatten();
        for blob in document.get("config").into_iter().chain(layers) {
            self.put_blob(text(blob, "digest"))?;
        }
        self.put_manifest(digest, digest, media_type)
    }

    /// Pushes a blob: end-4a, then end-6. (end-4b would be one request, but not every registry supports it.)
    ///
    /// # Errors
    /// The request that was refused, and the response.
    pub fn put_blob(&mut self, digest: &str) -> Result<(), String> {
        if !self.pushed.insert(digest.to_owned()) {
            return Ok(());
        }
        let start = self.url("blobs/uploads/");
        let answer = self.agent.post(&start).send_empty();
        let answer = expect("POST", &start, answer, StatusCode::ACCEPTED)?;
        let location = answer.headers().get(http::header::LOCATION);
        let location = location.and_then(|value| value.to_str().ok()).ok_or("202 without Location")?;

        let base =
            if location.starts_with('/') { format!("http://{}", self.registry) } else { String::new() };
        let joint = if location.contains('?') { '&' } else { '?' };
        let upload = format!("{base}{location}{joint}digest={digest}");
        let answer =
            self.agent.put(&upload).content_type("application/octet-stream").send(&*self.bytes(digest));
        expect("PUT", &upload, answer, StatusCode::CREATED).map(drop)
    }

    /// Pushes one manifest under a tag or a digest: end-7.
    ///
    /// # Errors
    /// The request that was refused, and the response.
    pub fn put_manifest(&self, name: &str, digest: &str, media_type: &str) -> Result<(), String> {
        let url = self.url(&format!("manifests/{name}"));
        let answer = self.agent.put(&url).content_type(media_type).send(&*self.bytes(digest));
        expect("PUT", &url, answer, StatusCode::CREATED).map(drop)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/v2/{}/{path}", self.registry, self.repository)
    }

    fn bytes(&self, digest: &str) -> bytes::Bytes {
        let digest: Digest = digest.parse().expect("digests in the content are valid");
        self.memory.bytes(&digest).unwrap_or_else(|| panic!("the content lacks {digest}"))
    }
}

/// A client without redirects, proxy and retries, with a timeout.
pub(super) fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into()
}

fn text<'v>(descriptor: &'v Value, key: &str) -> &'v str {
    descriptor[key].as_str().unwrap_or_else(|| panic!("no {key} in {descriptor}"))
}

fn expect(
    method: &str,
    url: &str,
    answer: Result<Response<Body>, ureq::Error>,
    wanted: StatusCode,
) -> Result<Response<Body>, String> {
    let mut answer = answer.map_err(|error| format!("{method} {url}: {error}"))?;
    if answer.status() == wanted {
        return Ok(answer);
    }
    let body = answer.body_mut().read_to_string().unwrap_or_else(|error| error.to_string());
    Err(format!("{method} {url}: {}: {body}", answer.status()))
}

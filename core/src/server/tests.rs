//! A server that is written to, with a storage in memory.

use bytes::Bytes;
use http::header::HOST;
use http::{Method, Request, Response};
use serde_json::Value;

use crate::server::embedded::EmbeddedRegistry;
use crate::server::policy::{Policy, User};
use crate::types::digest::{Algorithm, Digest};
use crate::types::time::Time;

mod batches;
mod blobs;
mod manifests;
mod policies;
mod storage;

/// A registry, with what a test does to it.
struct Scenario {
    registry: EmbeddedRegistry,
    now: Time,
    user: Option<User>,
}

impl Scenario {
    fn new() -> Self {
        Self::with(Policy::open())
    }

    fn with(policy: Policy) -> Self {
        Self { registry: EmbeddedRegistry::in_memory(policy, 7), now: Time::ZERO, user: None }
    }

    fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answered {
        let mut request = Request::builder().method(method).uri(target).header(HOST, "registry:5000");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Bytes::copy_from_slice(body)).unwrap();
        if let Some(user) = &self.user {
            request.extensions_mut().insert(user.clone());
        }
        let answered = Answered(self.registry.respond(self.now, request));
        let length = answered.header("content-length");
        if method != "HEAD" && answered.status() != 204 {
            assert_eq!(length, Some(&*answered.0.body().len().to_string()), "{method} {target}");
        }
        answered
    }

    fn send(&mut self, method: &Method, target: &str, body: &[u8]) -> Answered {
        self.ask(method.as_str(), target, &[], body)
    }

    fn get(&mut self, target: &str) -> Answered {
        self.send(&Method::GET, target, b"")
    }

    fn delete(&mut self, target: &str) -> Answered {
        self.send(&Method::DELETE, target, b"")
    }

    /// Opens an upload, and returns its location.
    fn begin(&mut self, repository: &str) -> String {
        let begun = self.send(&Method::POST, &format!("/v2/{repository}/blobs/uploads/"), b"");
        assert_eq!((begun.status(), begun.header("range")), (202, Some("0-0")));
        begun.location()
    }

    /// Pushes a blob.
    fn push_blob(&mut self, repository: &str, content: &[u8]) -> Digest {
        let digest = Digest::of(Algorithm::Sha256, content);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        assert_eq!(self.send(&Method::POST, &target, content).status(), 201);
        digest
    }

    /// Pushes a manifest.
    fn push(&mut self, repository: &str, name: &str, manifest: &str) -> Answered {
        self.send(&Method::PUT, &format!("/v2/{repository}/manifests/{name}"), manifest.as_bytes())
    }
}

/// A response.
#[derive(Debug)]
struct Answered(Response<Bytes>);

impl Answered {
    fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.0.headers().get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} is repeated");
        value
    }

    fn headers(&self, name: &str) -> Vec<&str> {
        self.0.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[track_caller]
    fn location(&self) -> String {
        self.header("location").expect("a location").to_owned()
    }

    fn body(&self) -> &Bytes {
        self.0.body()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(self.body()).unwrap()
    }

    /// Returns the status and the code of an error.
    #[track_caller]
    fn error(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/json"));
        let json = self.json();
        assert!(!json["errors"][0]["message"].as_str().unwrap().is_empty());
        (self.status(), json["errors"][0]["code"].as_str().unwrap().to_owned())
    }
}

#[track_caller]
fn assert_error(answered: &Answered, status: u16, code: &str) {
    assert_eq!(answered.error(), (status, code.to_owned()), "{:?}", answered.body());
}

/// Appends parameters to the query of a location.
fn with_query(location: &str, query: &str) -> String {
    format!("{location}{}{query}", if location.contains('?') { '&' } else { '?' })
}

fn percent(text: &str) -> String {
    text.replace(':', "%3A").replace('/', "%2F").replace('+', "%2B")
}

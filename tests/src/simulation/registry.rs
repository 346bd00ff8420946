//! A registry that serves content from memory, with defects as configured.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{StatusCode, request};
use oci_proto::server::{Body, Content as _, Memory, Server};
use oci_proto::{Descriptor, Digest, Fault, Repository, Tag};

use crate::simulation::answers::{Answers, Asked};
use crate::simulation::choices::Choices;
use crate::transcript::parse::Answer;

/// A registry with one tree, in one repository, under one tag.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Registry {
    memory: Memory,
    server: Server,
    repositories: Vec<Repository>,
    /// Other bytes to serve for some content.
    wrong: BTreeMap<Digest, Bytes>,
}

impl Registry {
    /// The repository of the tree.
    pub const REPOSITORY: &'static str = "team/app";
    /// Its tag.
    pub const TAG: &'static str = "1";

    /// A registry with the tree.
    ///
    /// # Panics
    ///
    /// The server refuses the tree.
    pub fn new(memory: Memory, root: &Descriptor) -> Self {
        let repository: Repository = Self::REPOSITORY.parse().expect("the repository is valid");
        let tag: Tag = Self::TAG.parse().expect("the tag is valid");
        let mut server = Server::new();
        server.add(&repository, Some(&tag), root, &memory).expect("the tree is complete");
        Self { memory, server, repositories: vec![repository], wrong: BTreeMap::new() }
    }

    /// Adds the tree to another repository, under the same tag.
    ///
    /// # Panics
    ///
    /// The server refuses the tree.
    #[must_use]
    pub fn also_in(mut self, repository: &str, root: &Descriptor) -> Self {
        let tag: Tag = Self::TAG.parse().expect("the tag is valid");
        let repository = repository.parse().expect("the repository is valid");
        self.server.add(&repository, Some(&tag), root, &self.memory).expect("the tree is complete");
        self.repositories.push(repository);
        self
    }

    /// Adds a tree to all repositories, without a tag.
    pub(super) fn add(&mut self, root: &Descriptor) {
        for repository in &self.repositories {
            self.server.add(repository, None, root, &self.memory).expect("the tree is complete");
        }
    }

    /// Removes some content.
    pub fn remove(&mut self, digest: &Digest) {
        for repository in &self.repositories {
            self.server.remove(repository, digest);
        }
    }

    /// Serves other bytes for some content.
    pub fn corrupt(&mut self, digest: &Digest, bytes: Bytes) {
        self.wrong.insert(digest.clone(), bytes);
    }

    /// The response to a request.
    pub fn respond(&self, head: &request::Parts) -> Answer {
        let (parts, body) = self.server.respond(head).into_parts();
        let body = match body {
            Body::Empty => Bytes::new(),
            Body::Bytes(bytes) => bytes,
            Body::Blob { digest, range } => {
                let place = |at: u64| usize::try_from(at).expect("the offset fits in memory");
                let bytes = self.memory.bytes(&digest).expect("all content of the server is in memory");
                bytes.slice(place(range.start)..place(range.end))
            }
        };
        let is_there = parts.status.is_success() && !head.uri.path().contains("/referrers/");
        let mut answer = Answer::new(parts.status, parts.headers, body);
        let named = head.uri.path().rsplit('/').next().and_then(|name| name.parse::<Digest>().ok());
        if let Some(wrong) = named.and_then(|digest| self.wrong.get(&digest)).filter(|_| is_there) {
            answer.status = StatusCode::OK;
            answer.headers.remove(CONTENT_RANGE);
            answer.headers.insert(CONTENT_LENGTH, wrong.len().into());
            answer.headers.remove("docker-content-digest");
            answer.body = wrong.clone();
        }
        answer
    }
}

impl Answers for &Registry {
    fn answer(&mut self, asked: &Asked<'_>, _: &mut Choices<'_>) -> Result<Answer, Fault> {
        Ok(self.respond(asked.head))
    }
}

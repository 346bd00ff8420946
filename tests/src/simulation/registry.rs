//! A registry that answers from memory, truthfully but where it was told otherwise.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{StatusCode, request};
use oci_proto::server::{Body, Content as _, Memory, Server};
use oci_proto::{Descriptor, Digest, Fault, Repository, Tag};

use super::{Answers, Asked, Choices};
use crate::transcript::Answer;

/// One tree in one repository, under one tag.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Registry {
    memory: Memory,
    server: Server,
    repositories: Vec<Repository>,
    /// What is served in the place of some content.
    wrong: BTreeMap<Digest, Bytes>,
}

impl Registry {
    /// What the tree is in.
    pub const REPOSITORY: &'static str = "team/app";
    /// Its tag.
    pub const TAG: &'static str = "1";

    /// Holds the tree.
    ///
    /// # Panics
    ///
    /// The server refuses the tree.
    pub fn new(memory: Memory, root: &Descriptor) -> Self {
        let repository: Repository = Self::REPOSITORY.parse().expect("a repository's name");
        let tag: Tag = Self::TAG.parse().expect("a tag");
        let mut server = Server::new();
        server.add(&repository, Some(&tag), root, &memory).expect("a complete tree");
        Self { memory, server, repositories: vec![repository], wrong: BTreeMap::new() }
    }

    /// Holds the tree in another repository as well, under the same tag.
    ///
    /// # Panics
    ///
    /// The server refuses the tree.
    #[must_use]
    pub fn also_in(mut self, repository: &str, root: &Descriptor) -> Self {
        let tag: Tag = Self::TAG.parse().expect("a tag");
        let repository = repository.parse().expect("a repository's name");
        self.server.add(&repository, Some(&tag), root, &self.memory).expect("a complete tree");
        self.repositories.push(repository);
        self
    }

    /// Has some content no more.
    pub fn remove(&mut self, digest: &Digest) {
        for repository in &self.repositories {
            self.server.remove(repository, digest);
        }
    }

    /// Serves other bytes in the place of some content.
    pub fn corrupt(&mut self, digest: &Digest, bytes: Bytes) {
        self.wrong.insert(digest.clone(), bytes);
    }

    /// The answer to a request.
    pub fn respond(&self, head: &request::Parts) -> Answer {
        let (parts, body) = self.server.respond(head).into_parts();
        let body = match body {
            Body::Empty => Bytes::new(),
            Body::Bytes(bytes) => bytes,
            Body::Blob { digest, range } => {
                let place = |at: u64| usize::try_from(at).expect("a place in memory");
                let bytes = self.memory.bytes(&digest).expect("what the server holds is in memory");
                bytes.slice(place(range.start)..place(range.end))
            }
        };
        let is_there = parts.status.is_success();
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

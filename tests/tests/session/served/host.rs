//! A host that runs the server: it stores bodies, fails, crashes and starts again.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Request, Response, Uri, request};
use oci_proto::server::{Begun, Body, Failure, Incoming, Policy, Reply, Server, Storage as _, UploadId};
use oci_proto::{Digest, Repository, Tag, Time};
use oci_proto_tests::simulation::Choices;

use crate::served::disk::{Disk, Fails};

/// What goes wrong, at most.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Troubles {
    /// The number of failures of the disk.
    pub(super) failures: usize,
    /// The number of crashes.
    pub(super) crashes: usize,
}

/// Something that occurred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    FailedBody,
    FailedChange,
    CrashInBody,
    CrashBeforeChange,
    CrashAfterChange,
    Resumed,
    CutOff,
}

impl Seen {
    pub(super) const ALL: [Self; 7] = [
        Self::FailedBody,
        Self::FailedChange,
        Self::CrashInBody,
        Self::CrashBeforeChange,
        Self::CrashAfterChange,
        Self::Resumed,
        Self::CutOff,
    ];
}

#[derive(Debug)]
pub(super) struct Host {
    server: Server,
    pub(super) disk: Disk,
    pub(super) troubles: Troubles,
    pub(super) seen: Vec<Seen>,
    pub(super) log: Vec<String>,
    starts: u64,
    /// What was acknowledged, and must be there from then on.
    acknowledged: Vec<(Repository, Digest)>,
    /// The numbers of bytes that were acknowledged of uploads.
    received: BTreeMap<UploadId, usize>,
}

/// The connection breaks without a response.
pub(super) struct Broken;

impl Host {
    pub(super) fn new(troubles: Troubles) -> Self {
        Self {
            server: Server::with_policy(Policy::open(), 0),
            disk: Disk::default(),
            troubles,
            seen: Vec::new(),
            log: Vec::new(),
            starts: 0,
            acknowledged: Vec::new(),
            received: BTreeMap::new(),
        }
    }

    /// Returns what a tag names, on the disk.
    pub(super) fn tag(&self, repository: &str, tag: &str) -> Option<Digest> {
        let key = (repository.parse().expect("a repository"), tag.parse::<Tag>().expect("a tag"));
        self.disk.tags.get(&key).cloned()
    }

    /// Answers a request.
    pub(super) fn respond(
        &mut self,
        now: Time,
        choices: &mut Choices<'_>,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, Broken> {
        let (head, body) = request.into_parts();
        let line = format!("{} {}", head.method, head.uri);
        if head.method == Method::GET || head.method == Method::HEAD {
            let response = self.read(&head);
            self.note_received(&response);
            return Ok(response);
        }
        let reply = match self.server.begin(now, &head) {
            Begun::Reply(reply) => Ok(reply),
            Begun::Receive(incoming) => self.receive(now, choices, incoming, &body),
        };
        let response = reply.and_then(|reply| self.settle(now, choices, reply));
        let outcome = response.as_ref().map_or("broken".to_owned(), |response| response.status().to_string());
        self.log.push(format!("{line}: {outcome}"));
        let response = response?;
        self.note_received(&response);
        if response.status() == 201 {
            let digest = response.headers()["docker-content-digest"].to_str().expect("text");
            self.acknowledged.push((repository_of(&head.uri), digest.parse().expect("a digest")));
        }
        self.assert_kept();
        Ok(response.map(|body| match body {
            Body::Bytes(bytes) => bytes,
            Body::Empty | Body::Blob { .. } => Bytes::new(),
        }))
    }

    fn read(&self, head: &request::Parts) -> Response<Bytes> {
        self.server.respond(head).map(|body| match body {
            Body::Empty => Bytes::new(),
            Body::Bytes(bytes) => bytes,
            Body::Blob { digest, range } => {
                let read = self.disk.read(&repository_of(&head.uri), &digest, range);
                read.expect("what the server lists is there")
            }
        })
    }

    fn receive(
        &mut self,
        now: Time,
        choices: &mut Choices<'_>,
        mut incoming: Incoming,
        body: &Bytes,
    ) -> Result<Reply, Broken> {
        if self.may_fail(choices) {
            self.disk.fails = Some(if choices.flip() { Fails::Write } else { Fails::Sync });
        }
        let cut = choices.once_in(12).then(|| choices.below(body.len() + 1));
        let crashes = self.may_crash(choices);
        let body = body.slice(..cut.unwrap_or(body.len()));
        let stored = self.store(choices, &mut incoming, &body, crashes);
        self.disk.fails = None;
        if crashes {
            self.seen.push(Seen::CrashInBody);
            return Err(self.crash(now));
        }
        if let Err(failure) = stored {
            self.seen.push(Seen::FailedBody);
            return Ok(self.server.interrupted(now, incoming, Some(failure)));
        }
        if cut.is_none() {
            return Ok(self.server.finish(now, incoming));
        }
        self.seen.push(Seen::CutOff);
        let reply = self.server.interrupted(now, incoming, None);
        self.settle(now, choices, reply)?;
        Err(Broken)
    }

    /// Stores a body in parts. Before a crash it is not synced.
    fn store(
        &mut self,
        choices: &mut Choices<'_>,
        incoming: &mut Incoming,
        body: &[u8],
        crashes: bool,
    ) -> Result<(), Failure> {
        let repository = incoming.repository().clone();
        let first = incoming.place().map(|(upload, offset)| (upload.clone(), offset));
        if let (Some((upload, _)), Some(range)) = (&first, incoming.stored()) {
            self.disk.read_upload(upload, range, &mut |bytes| incoming.push_stored(bytes))?;
        }
        if first.as_ref().is_some_and(|(_, offset)| *offset > 0) {
            self.seen.push(Seen::Resumed);
        }
        for part in body.chunks(1 + choices.below(400)) {
            if let Some((upload, offset)) = incoming.place() {
                self.disk.write(&repository, upload, offset, part)?;
            }
            if incoming.push(part).is_err() {
                return Ok(());
            }
        }
        match first {
            Some((upload, _)) if !crashes => self.disk.sync(&upload),
            _ => Ok(()),
        }
    }

    fn settle(
        &mut self,
        now: Time,
        choices: &mut Choices<'_>,
        reply: Reply,
    ) -> Result<Response<Body>, Broken> {
        let Some((repository, effects)) = reply.effects() else { return Ok(reply.done()) };
        if self.may_crash(choices) {
            self.seen.push(Seen::CrashBeforeChange);
            return Err(self.crash(now));
        }
        if self.may_fail(choices) {
            self.disk.fails = Some(Fails::Apply);
        }
        if let Err(failure) = self.disk.apply(&[(repository, effects)]) {
            self.seen.push(Seen::FailedChange);
            self.server.roll_back(&reply);
            return Ok(reply.failed(failure));
        }
        if self.may_crash(choices) {
            self.seen.push(Seen::CrashAfterChange);
            return Err(self.crash(now));
        }
        self.server.commit(&reply);
        Ok(reply.done())
    }

    /// Notes how much of an upload a response acknowledges.
    fn note_received<B>(&mut self, response: &Response<B>) {
        let text = |name: &str| response.headers().get(name).map(|value| value.to_str().expect("text"));
        let (Some(id), Some(range)) = (text("docker-upload-uuid"), text("range")) else { return };
        let last: usize = range.strip_prefix("0-").and_then(|last| last.parse().ok()).expect("a range");
        // `0-0` may be no byte.
        let received = if last == 0 { 0 } else { last + 1 };
        self.received.insert(id.parse().expect("an id"), received);
    }

    fn may_fail(&mut self, choices: &mut Choices<'_>) -> bool {
        let fails = self.troubles.failures > 0 && choices.once_in(4);
        self.troubles.failures -= usize::from(fails);
        fails
    }

    fn may_crash(&mut self, choices: &mut Choices<'_>) -> bool {
        let crashes = self.troubles.crashes > 0 && choices.once_in(10);
        self.troubles.crashes -= usize::from(crashes);
        crashes
    }

    /// Starts again with what the disk has.
    fn crash(&mut self, now: Time) -> Broken {
        self.disk.crash();
        for (upload, received) in &self.received {
            let kept = self.disk.kept_of(upload);
            assert!(kept.is_none_or(|kept| kept >= *received), "{upload} has lost bytes: {:#?}", self.log);
        }
        self.starts += 1;
        self.server = Server::with_policy(Policy::open(), self.starts);
        self.disk.load(&mut self.server, now);
        self.assert_kept();
        Broken
    }

    /// What was acknowledged is there, and everything that is there is whole.
    fn assert_kept(&self) {
        for (digest, bytes) in self.disk.contents() {
            let algorithm = digest.algorithm().expect("it was verified");
            assert_eq!(Digest::of(algorithm, bytes), *digest, "it has other bytes: {:#?}", self.log);
        }
        for (repository, digest) in &self.acknowledged {
            assert!(self.disk.has(repository, digest), "{digest} is lost: {:#?}", self.log);
        }
    }
}

fn repository_of(uri: &Uri) -> Repository {
    let path = uri.path().strip_prefix("/v2/").expect("an endpoint");
    let end = ["/blobs/", "/manifests/", "/tags/", "/referrers/"].iter().find_map(|word| path.find(word));
    path[..end.expect("an endpoint")].parse().expect("a repository")
}

//! The beginning and the end of a fetch, as its operation sees them.

use std::mem;
use std::time::Duration;

use http::{Method, Uri};

use crate::config::Config;
use crate::error::{Error, Misbehaviour};
use crate::op::event::{Event, Retry};
use crate::op::location::BlobLocation;
use crate::op::operation::{Admission, Failed, Fetch, FetchKind, Fetched, Recipient};
use crate::session::mirrors::may_ask_others;
use crate::session::retry;
use crate::session::state::Session;
use crate::session::task::{Half, Mirrored, Purpose, Task, TaskState};
use crate::types::digest::{Algorithm, Hasher};
use crate::types::id::{OpId, TaskId};
use crate::types::reference::tag_or_digest::TagOrDigest;
use crate::wire::endpoint::Endpoint;
use crate::wire::exchange::sink::Sink;
use crate::wire::exchange::want::BlobWant;
use crate::wire::origin::{self, Origin};
use crate::wire::status::RequestKind;

impl Session {
    /// Creates the task for a fetch, at its first source. It is queued or asleep, or has ended at once.
    pub(super) fn begin_fetch(&mut self, op: OpId, fetch: Fetch) -> Option<TaskId> {
        self.begin_fetch_after(op, fetch, 0, None)
    }

    /// Creates the task for a fetch, without the mirrors before `index`, and with the progress of a blob.
    pub(super) fn begin_fetch_after(
        &mut self,
        op: OpId,
        mut fetch: Fetch,
        index: usize,
        progress: Option<Box<BlobWant>>,
    ) -> Option<TaskId> {
        let mirror = self.avoided.mirror_for(&fetch, index, self.now);
        let mirrored = mirror
            .map(|(index, mirror)| Mirrored { primary: mem::replace(&mut fetch.target, mirror), index });
        let (kind, start_uri, part) = match first_request(op, &fetch, mirrored.is_some(), &self.config) {
            Ok(first) => first,
            Err(misbehaviour) => {
                let error = Error::new(misbehaviour);
                self.hand_over(op, &fetch, Err(error));
                return None;
            }
        };
        let part = match progress {
            Some(mut progress) => {
                progress.ask_another_source();
                Some(progress)
            }
            None => part,
        };
        let target = &fetch.target;
        let origin = match kind {
            RequestKind::GetElsewhere => Origin::of(&start_uri)?,
            _ if fetch.has_supplied_url() => Origin::of(&start_uri)?,
            _ => target.origin.clone(),
        };
        let id = self.ids.task();
        let after = fetch.call().and_then(|call| call.after.clone());
        let mut task = Task::new(Purpose::Fetch { op, fetch }, kind, start_uri, origin, part);
        task.mirrored = mirrored;
        self.tasks.insert(id, task);
        self.ops.get_mut(&op)?.tasks.insert(id);
        match after {
            Some(after) => self.delay_after(id, after),
            None => Some(id),
        }
    }

    /// Reports the attempts that a new task follows, and delays it. Returns it unless it has failed.
    fn delay_after(&mut self, id: TaskId, after: Failed) -> Option<TaskId> {
        let Failed { error, count } = after;
        let delay = match count {
            0 => Some(Duration::ZERO),
            _ => retry::delay(&self.config.limits, count, error.retry_after(), &mut self.jitter),
        };
        let Some(delay) = delay else {
            self.end(id, Err(error));
            return None;
        };
        self.report(id, &error, delay, count);
        if count > 0 {
            let at = self.now + delay;
            self.tasks.get_mut(&id)?.state = TaskState::Asleep(at);
            self.timers.insert((at, id));
        }
        Some(id)
    }

    /// Creates the tasks for a pair. Returns them if both are ready.
    pub(super) fn begin_pair(
        &mut self,
        op: OpId,
        (first, second): (Fetch, Fetch),
    ) -> Option<(TaskId, TaskId)> {
        // If one half has failed, the other is of no use.
        let first = self.begin_fetch(op, first)?;
        let Some(second) = self.begin_fetch(op, second) else {
            self.forget_task(op, first);
            return None;
        };
        self.pair(first, second).then_some((first, second))
    }

    /// Makes two tasks the halves of a pair. Returns whether both are ready.
    pub(super) fn pair(&mut self, first: TaskId, second: TaskId) -> bool {
        let mut is_ready = true;
        for (half, other) in [(first, second), (second, first)] {
            let is_download = self.tasks.get(&other).is_some_and(|other| !other.is_call());
            let Some(task) = self.tasks.get_mut(&half) else { return false };
            task.half = Some(Half::of(other));
            task.is_fed = task.is_call() && is_download;
            match task.state {
                TaskState::Asleep(_) => is_ready = false,
                _ => task.state = TaskState::Paired,
            }
        }
        is_ready
    }

    /// Reports that a request failed and is retried.
    pub(super) fn report(&mut self, id: TaskId, error: &Error, delay: Duration, failed: u32) {
        for op in self.ops_of(id) {
            self.notice(op, Event::Retry(Retry { error: error.clone(), delay, failed }));
        }
    }

    /// Ends a fetch.
    pub(super) fn end(&mut self, id: TaskId, outcome: Result<Fetched, Error>) {
        self.stop_other_half(id, &outcome);
        let Some(task) = self.remove_task(id) else { return };
        let Some(op) = task.op() else { return };
        let Some(running) = self.ops.get_mut(&op) else { return };
        running.tasks.remove(&id);
        task.add_to(&mut running.shown);
        let Task { purpose: Purpose::Fetch { mut fetch, .. }, mirrored, part, .. } = task else { return };
        let Some(Mirrored { primary, index }) = mirrored else { return self.hand_over(op, &fetch, outcome) };
        let mirror = mem::replace(&mut fetch.target, primary);
        let is_fed = matches!(&fetch.kind, FetchKind::Blob(blob) if blob.feeds_from.is_some());
        self.mirror_settled(op, &mirror, is_fed, outcome.as_ref().err());
        match outcome {
            Err(error) if may_ask_others(&fetch, &error) => {
                let mut part = part;
                if let FetchKind::Blob(blob) = &mut fetch.kind {
                    if is_fed {
                        blob.has_others = true;
                        return self.hand_over(op, &fetch, Err(error));
                    }
                    if error.cause().is_wrong_content() {
                        (part, blob.resume) = (None, None);
                    }
                }
                if let Some(next) = self.begin_fetch_after(op, fetch, index + 1, part) {
                    self.queue(next);
                }
            }
            outcome => self.hand_over(op, &fetch, outcome),
        }
    }

    /// Hands the outcome of a fetch to its operation, and begins the next attempt if that makes one.
    fn hand_over(&mut self, op: OpId, fetch: &Fetch, outcome: Result<Fetched, Error>) {
        let Some(running) = self.ops.get_mut(&op) else { return };
        running.op.settle(fetch, outcome, &mut self.habits);
        let next = running.op.next_attempt(fetch, &self.habits);
        self.wake(op);
        match next {
            None => {}
            Some(Admission::One(fetch)) => {
                if let Some(id) = self.begin_fetch(op, fetch)
                    && self.tasks.get(&id).is_some_and(|task| matches!(task.state, TaskState::Queued))
                {
                    self.queue(id);
                }
            }
            Some(Admission::Pair(halves)) => {
                if let Some((first, _)) = self.begin_pair(op, *halves) {
                    self.queue(first);
                }
            }
        }
    }

    /// Stops the other half of a pair if no bytes flow any more: if its upload has ended, in any way, or its download
    /// has failed. The operation learns only of the half that has ended, and sends both again if that may help.
    fn stop_other_half(&mut self, id: TaskId, outcome: &Result<Fetched, Error>) {
        let Some(task) = self.tasks.get(&id) else { return };
        let (Some(half), Some(op)) = (&task.half, task.op()) else { return };
        let (other, is_fed) = (half.other, task.is_fed);
        if is_fed && matches!(outcome, Ok(Fetched::Reply(reply)) if reply.error.is_none()) {
            self.report_source(op, other);
        }
        if is_fed || outcome.is_err() {
            self.forget_task(op, other);
        }
    }
}

/// Returns the kind and the URL of a fetch's first request, and the progress of a blob.
fn first_request(
    op: OpId,
    fetch: &Fetch,
    is_mirror: bool,
    config: &Config,
) -> Result<(RequestKind, Uri, Option<Box<BlobWant>>), Misbehaviour> {
    let target = &fetch.target;
    // A registry as a whole has no content.
    let repository = || target.repository.clone().ok_or(Misbehaviour::Unexpected);
    Ok(match &fetch.kind {
        FetchKind::Manifest { method, name, expected } => {
            // A mirror may know a tag by another digest, or not at all.
            let exact = expected.digest.clone().filter(|_| is_mirror).map(TagOrDigest::Digest);
            let name = exact.unwrap_or_else(|| name.clone());
            let endpoint = Endpoint::Manifest(repository()?, name, Vec::new(), None);
            let is_head = *method == Method::HEAD;
            let kind = if is_head { RequestKind::HeadManifest } else { RequestKind::GetManifest };
            (kind, target.base.uri(&endpoint), None)
        }
        FetchKind::Config(content) => (
            RequestKind::GetBlob,
            target.base.uri(&Endpoint::Blob(repository()?, content.digest.clone())),
            None,
        ),
        FetchKind::Blob(blob) => {
            let digest = &blob.digest;
            let (kind, start_uri) = match blob.locations.current() {
                BlobLocation::Blobs => {
                    let endpoint = Endpoint::Blob(repository()?, digest.clone());
                    (RequestKind::GetBlob, target.base.uri(&endpoint))
                }
                BlobLocation::Manifests => {
                    let name = TagOrDigest::Digest(digest.clone());
                    let endpoint = Endpoint::Manifest(repository()?, name, Vec::new(), None);
                    (RequestKind::GetManifest, target.base.uri(&endpoint))
                }
                BlobLocation::Url(url) => {
                    let elsewhere = origin::elsewhere(&target.origin, url, &config.plain_hosts())?;
                    (RequestKind::GetElsewhere, elsewhere)
                }
            };
            let fresh = || (0, Some(Hasher::new(digest.algorithm().unwrap_or(Algorithm::Sha256))));
            let resumed = blob.resume.clone().map(|(offset, hasher)| (offset, Some(hasher)));
            let fed = blob.feeds_from.map(|offset| (offset, None));
            let (offset, hasher) = fed.or(resumed).unwrap_or_else(fresh);
            let part = BlobWant {
                sink: Sink { op, digest: digest.clone(), size: blob.size, offset },
                whole: false,
                skipped: 0,
                hasher,
                announced: None,
                limit: config.limits.blob_bytes,
                discard: blob.discard,
            };
            (kind, start_uri, Some(Box::new(part)))
        }
        FetchKind::Call(call) => {
            let uri = match &call.to {
                Recipient::Endpoint(endpoint) => target.base.uri(endpoint),
                Recipient::Url(uri) => uri.clone(),
            };
            (call.kind, uri, None)
        }
    })
}

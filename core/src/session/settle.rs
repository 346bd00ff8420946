//! Handles the end of an exchange: passes its outcome to the task, or the response to a call to its operation.

use bytes::Bytes;
use http::header::WARNING;
use http::{HeaderMap, Method, StatusCode};

use crate::error::fault::{Fault, FaultKind};
use crate::error::{Cause, Error, Misbehaviour, Responder};
use crate::op::event::Event;
use crate::op::operation::{Call, FetchKind, Fetched, Reply};
use crate::session::retry;
use crate::session::state::Session;
use crate::session::task::{Purpose, Task, TaskState};
use crate::types::id::{OpId, TaskId};
use crate::wire::error_body;
use crate::wire::exchange::completion::{Completion, Outcome};
use crate::wire::exchange::sending::Sent;
use crate::wire::request::Payload;
use crate::wire::status::{self, Class, RequestKind};

impl Session {
    /// Applies a completion to its task.
    pub(super) fn settle(&mut self, id: TaskId, completion: Completion) {
        let Some(task) = self.tasks.get(&id) else { return };
        if completion.head.is_some() {
            self.addresses.answered(task, completion.is_private);
        }
        if let (Some((_, headers)), Some(op)) = (&completion.head, task.op()) {
            let url = task.uri.clone();
            self.remember_urls(op, &url, headers);
            self.warn(op, headers);
        }
        if !self.tasks.get(&id).is_some_and(|task| matches_task(task, &completion.outcome)) {
            let message = "the completion belongs to another exchange";
            return self.fail_task(id, Fault::new(FaultKind::Unsupported, message).into());
        }
        if self.tasks.get(&id).is_some_and(Task::is_call) {
            return self.settle_call(id, completion);
        }
        match (completion.outcome, completion.head) {
            (Outcome::Head, Some((_, headers))) => self.end(id, Ok(Fetched::Head(headers))),
            (Outcome::Manifest(digest, manifest), _) => self.end(id, Ok(Fetched::Manifest(digest, manifest))),
            (Outcome::Blob(_), _) => self.end(id, Ok(Fetched::Blob)),
            (Outcome::Delivered(_), _) => self.delivered(id),
            (Outcome::Token(token), _) => self.token_settled(id, Ok(&token)),
            (Outcome::Partial(part, cause), _) => self.resume_later(id, part, cause),
            (Outcome::Refused(body), Some((status, headers))) => {
                self.refused(id, status, &headers, &body);
            }
            (Outcome::WrongPart(cause), _) => self.fail_or_fetch_whole(id, cause),
            (Outcome::Failed(cause), _) if self.starts_over(id, &cause) => {}
            (Outcome::Failed(cause), _) => self.attempt_failed(id, cause),
            // No exchange completes like this.
            (Outcome::Head | Outcome::Body(_) | Outcome::Refused(_), None) | (Outcome::Body(_), _) => {
                self.attempt_failed(id, Fault::new(FaultKind::Reset, "no head").into());
            }
        }
    }

    /// Handles the loss of an exchange.
    ///
    /// The bytes that a lost download has passed to its upload are not known, unless it was not sent at all. The
    /// upload then counts as interrupted, and both are sent again.
    pub(super) fn lost_attempt(&mut self, id: TaskId, fault: Fault) {
        let Some(task) = self.tasks.get(&id) else { return };
        let has_bytes = matches!(fault.kind(), FaultKind::Reset | FaultKind::Timeout);
        let cause = Cause::from(fault);
        let other = task.half.as_ref().map(|half| half.other).filter(|_| has_bytes);
        let is_fed = |id: &TaskId| self.tasks.get(id).is_some_and(|task| task.is_fed);
        if task.is_call() {
            self.call_failed(id, cause, Sent::default());
        } else if let Some(upload) = other.filter(is_fed) {
            // Its exchange has ended, so stopping it later does not free its slot again.
            if let Some(task) = self.tasks.get_mut(&id) {
                task.state = TaskState::Parked;
            }
            self.abort(upload);
            self.call_failed(upload, cause, Sent::default());
        } else {
            self.attempt_failed(id, cause);
        }
    }

    /// Handles an exchange whose driver is gone, after its task was queued again. A request that must not be
    /// repeated counts as interrupted.
    pub(super) fn abandoned_attempt(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.is_repeated = true;
        if task.is_call() && !task.kind.may_repeat() {
            let fault = Fault::new(FaultKind::Reset, "the request was abandoned");
            self.call_failed(id, fault.into(), Sent::default());
        }
    }

    /// Applies a completion to a call. The session repeats a call that may be repeated, follows redirects and
    /// answers challenges; everything else is for the operation to interpret.
    fn settle_call(&mut self, id: TaskId, completion: Completion) {
        let sent = completion.payload();
        if let Some(computed) = sent.wrong_source.clone()
            && self.tasks.get(&id).is_some_and(|task| task.is_fed)
        {
            return self.source_is_wrong(id, computed);
        }
        let (status, headers) = match (&completion.head, &completion.outcome) {
            (Some((status, headers)), Outcome::Head | Outcome::Body(_) | Outcome::Refused(_)) => {
                (*status, headers.clone())
            }
            (_, Outcome::Failed(cause)) => return self.call_failed(id, cause.clone(), sent),
            _ => return self.call_failed(id, Fault::new(FaultKind::Reset, "no head").into(), sent),
        };
        let Some(task) = self.tasks.get(&id) else { return };
        let class = task.kind.classify(status, &headers);
        if class == Class::Done
            && let Some(early) = task.fetch().and_then(|fetch| early(fetch.call()?, sent.bytes))
        {
            return self.attempt_failed(id, early.into());
        }
        match completion.outcome {
            Outcome::Refused(body) => self.call_refused(id, class, status, headers, &body, sent),
            Outcome::Body(body) => self.reply(id, Answered { class, headers, body, sent, error: None }),
            _ => self.reply(id, Answered { class, headers, body: Bytes::new(), sent, error: None }),
        }
    }

    fn call_refused(
        &mut self,
        id: TaskId,
        class: Class,
        status: StatusCode,
        headers: HeaderMap,
        body: &[u8],
        sent: Sent,
    ) {
        let Some(task) = self.tasks.get(&id) else { return };
        let (is_fed, by) = (task.is_fed, task.responder());
        let repeats = task.kind.may_repeat() && !is_fed && task.op().is_some();
        match class {
            Class::Trouble if repeats => self.refused(id, status, &headers, body),
            Class::Redirect | Class::Challenge if !is_fed => self.refused(id, status, &headers, body),
            Class::Redirect => self.pair_diverted(id, class, status, &headers, body),
            Class::Challenge if by == Responder::Registry => {
                self.pair_diverted(id, class, status, &headers, body);
            }
            _ => {
                self.remember(id);
                let entries = self.config.limits.error_entries;
                let mut refusal = error_body::refusal(status, by, &headers, body, entries);
                refusal.with_login = self.has_login(id);
                let Some(task) = self.tasks.get(&id) else { return };
                if status::slows_all(status)
                    && let Some(delay) =
                        retry::delay(&self.config.limits, 1, refusal.retry_after, &mut self.jitter)
                {
                    self.lanes.close(&task.origin, self.now + delay, self.now);
                }
                let error = Some(task.error(refusal.into()));
                self.reply(id, Answered { class, headers, body: Bytes::new(), sent, error });
            }
        }
    }

    /// Follows the redirect or answers the challenge of an upload that a download feeds. Bytes of that may be gone, so
    /// both are sent again.
    fn pair_diverted(
        &mut self,
        upload: TaskId,
        class: Class,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) {
        self.remember(upload);
        let Some((task, fetch)) = self.tasks.get(&upload).and_then(|task| Some((task, task.fetch()?))) else {
            return;
        };
        let diverted = if class == Class::Redirect {
            self.redirect_target(upload, headers)
        } else {
            let entries = self.config.limits.error_entries;
            let refusal = error_body::refusal(status, Responder::Registry, headers, body, entries);
            self.auth.challenged(upload, &fetch.target, &task.uri, refusal, headers, self.targets).map(|()| {
                self.tasks.get_mut(&upload).into_iter().for_each(Task::reset_uri);
            })
        };
        match diverted {
            Ok(()) => self.repeat_pair(upload),
            Err(cause) => self.fail_task(upload, cause),
        }
    }

    /// Handles a call without a usable response.
    fn call_failed(&mut self, id: TaskId, cause: Cause, sent: Sent) {
        let Some(task) = self.tasks.get(&id) else { return };
        let repeats = !task.is_fed && task.op().is_some();
        if repeats && retry::is_retryable(task.kind, &cause) {
            return self.attempt_failed(id, cause);
        }
        if !cause.is_interruption() {
            return self.fail_task(id, cause);
        }
        self.remember(id);
        let Some(task) = self.tasks.get(&id) else { return };
        let (class, headers, body) = (Class::Trouble, HeaderMap::new(), Bytes::new());
        let error = Some(task.error(cause));
        self.reply(id, Answered { class, headers, body, sent, error });
    }

    /// Hands the response to a call to its operation.
    fn reply(&mut self, id: TaskId, answered: Answered) {
        let with_login = self.has_login(id);
        let Some(task) = self.tasks.get(&id) else { return };
        let Answered { class, headers, body, sent: Sent { bytes: sent, marks, .. }, error } = answered;
        let (kind, url, is_repeated) = (task.kind, task.uri.clone(), task.is_repeated);
        let reply = Reply { kind, class, url, is_repeated, with_login, headers, body, sent, marks, error };
        self.end(id, Ok(Fetched::Reply(Box::new(reply))));
    }

    fn warn(&mut self, op: OpId, headers: &HeaderMap) {
        let limit = self.config.limits.warnings;
        if !headers.contains_key(WARNING) {
            return;
        }
        let warnings = error_body::warnings(headers).take(limit);
        let forms = self.forms(op);
        let Some(running) = self.ops.get_mut(&op) else { return };
        for warning in warnings {
            let warning = warning.map(|text| forms.hide(text));
            if running.warned.len() < limit && running.warned.insert(warning.clone()) {
                running.notices.push_back(Event::Warning(warning));
            }
        }
        self.wake(op);
    }
}

/// The response to a call.
struct Answered {
    class: Class,
    headers: HeaderMap,
    body: Bytes,
    sent: Sent,
    error: Option<Error>,
}

/// Returns the misbehaviour of a success that came before a document was sent. The success of a blob's upload is for
/// its operation to interpret.
fn early(call: &Call, sent: u64) -> Option<Misbehaviour> {
    let Payload::Bytes(document) = &call.payload else { return None };
    let length = document.len() as u64;
    (call.kind == RequestKind::PutManifest && sent < length).then_some(Misbehaviour::Early { sent, length })
}

/// Returns whether this can be the outcome of the task's exchange. A driver may have mixed up its
/// exchanges.
fn matches_task(task: &Task, outcome: &Outcome) -> bool {
    let kind = match &task.purpose {
        Purpose::Token(_) => None,
        Purpose::Fetch { fetch, .. } | Purpose::Cleanup(fetch) => Some(&fetch.kind),
    };
    match (outcome, kind) {
        (Outcome::Refused(_) | Outcome::Failed(_), _)
        | (Outcome::WrongPart(_), Some(FetchKind::Blob(_)))
        | (Outcome::Token(_), None) => true,
        (Outcome::Head, Some(FetchKind::Manifest { method, .. })) => *method == Method::HEAD,
        (Outcome::Head, Some(FetchKind::Call(call))) => call.body_limit.is_none(),
        (Outcome::Body(_), Some(FetchKind::Call(call))) => call.body_limit.is_some(),
        (Outcome::Manifest(digest, manifest), Some(FetchKind::Manifest { expected, .. })) => {
            let size = manifest.bytes().len() as u64;
            expected.digest.as_ref().is_none_or(|expected| expected == digest)
                && expected.size.is_none_or(|expected| expected == size)
        }
        (Outcome::Manifest(digest, manifest), Some(FetchKind::Config(config))) => {
            config.digest == *digest && config.size == manifest.bytes().len() as u64
        }
        (Outcome::Blob(digest), Some(FetchKind::Blob(blob))) => {
            blob.digest == *digest && blob.feeds_from.is_none()
        }
        (Outcome::Delivered(digest), Some(FetchKind::Blob(blob))) => {
            blob.digest == *digest && blob.feeds_from.is_some() && task.half.is_some()
        }
        (Outcome::Partial(part, _), Some(FetchKind::Blob(blob))) => {
            blob.digest == part.sink.digest && task.op() == Some(part.sink.op)
        }
        _ => false,
    }
}

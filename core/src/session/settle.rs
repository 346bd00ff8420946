//! Handles the end of an exchange: the task ends, is redirected, or is retried.

use std::time::Duration;

use bytes::Bytes;
use http::header::{WARNING, WWW_AUTHENTICATE};
use http::{HeaderMap, Method, StatusCode};

use crate::error::fault::{Fault, FaultKind};
use crate::error::{Cause, Error, LimitExceeded, Misbehaviour, Responder};
use crate::op::event::{Event, Retry};
use crate::op::operation::{FetchKind, Fetched, Reply};
use crate::session::retry;
use crate::session::state::Session;
use crate::session::task::{Purpose, Task, TaskState};
use crate::types::id::{OpId, TaskId};
use crate::types::token::TokenAnswer;
use crate::wire::exchange::completion::{Completion, Outcome};
use crate::wire::exchange::sending::Sent;
use crate::wire::exchange::want::BlobWant;
use crate::wire::status::{self, Class, RequestKind};
use crate::wire::{error_body, origin};

impl Session {
    /// Applies a completion to its task.
    pub(super) fn settle(&mut self, id: TaskId, completion: Completion) {
        let Some(task) = self.tasks.get(&id) else { return };
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

    /// Applies a completion to a call. The session repeats a call that may be repeated, follows redirects and
    /// answers challenges; everything else is for the operation to interpret.
    fn settle_call(&mut self, id: TaskId, completion: Completion) {
        // A payload that was not dropped is complete.
        let unknown = || Sent { bytes: u64::MAX, ..Sent::default() };
        let sent = completion.sent.get().cloned().unwrap_or_else(unknown);
        let (status, headers) = match (&completion.head, &completion.outcome) {
            (Some((status, headers)), Outcome::Head | Outcome::Body(_) | Outcome::Refused(_)) => {
                (*status, headers.clone())
            }
            (_, Outcome::Failed(cause)) => return self.call_failed(id, cause.clone(), sent),
            _ => return self.call_failed(id, Fault::new(FaultKind::Reset, "no head").into(), sent),
        };
        let Some(task) = self.tasks.get(&id) else { return };
        let class = match task.kind.classify(status) {
            // Harbor before 2.8 answers so, whatever the login.
            Class::Challenge
                if task.kind == RequestKind::ListReferrers && !headers.contains_key(WWW_AUTHENTICATE) =>
            {
                Class::Unsupported
            }
            class => class,
        };
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
        let is_fed = task.is_fed;
        let repeats = task.kind.may_repeat() && !is_fed && task.op().is_some();
        match class {
            Class::Trouble if repeats => self.refused(id, status, &headers, body),
            Class::Redirect | Class::Challenge if !is_fed => self.refused(id, status, &headers, body),
            Class::Redirect => match self.redirect_target(id, &headers) {
                Ok(()) => {
                    self.remember(id);
                    let body = Bytes::new();
                    self.reply(id, Answered { class, headers, body, sent, error: None });
                }
                Err(cause) => self.fail_task(id, cause),
            },
            _ => {
                let by = responder(task);
                self.remember(id);
                let entries = self.config.limits.error_entries;
                let mut refusal = error_body::refusal(status, by, &headers, body, entries);
                refusal.with_login = self.has_login(id);
                let Some(task) = self.tasks.get(&id) else { return };
                if class == Class::Challenge
                    && by == Responder::Registry
                    && let Some((target, uri)) =
                        task.fetch().map(|fetch| (fetch.target.clone(), task.uri.clone()))
                {
                    // The download has begun, so both must be sent again.
                    let challenged =
                        self.auth.challenged(id, &target, &uri, refusal.clone(), &headers, self.targets);
                    if let Err(cause) = challenged {
                        return self.fail_task(id, cause);
                    }
                }
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
            self.abort(upload);
            self.call_failed(upload, cause, Sent::default());
        } else {
            self.attempt_failed(id, cause);
        }
    }

    /// Handles an exchange whose driver is gone, after its task was queued again. A request that must not be
    /// repeated counts as interrupted.
    pub(super) fn abandoned_attempt(&mut self, id: TaskId) {
        if self.tasks.get(&id).is_some_and(|task| task.is_call() && !task.kind.may_repeat()) {
            let fault = Fault::new(FaultKind::Reset, "the request was abandoned");
            self.call_failed(id, fault.into(), Sent::default());
        }
    }

    /// Handles a call without a usable response.
    fn call_failed(&mut self, id: TaskId, cause: Cause, sent: Sent) {
        let Some(task) = self.tasks.get(&id) else { return };
        let is_repeated = !task.is_fed && task.op().is_some();
        if is_repeated && retry::is_retryable(task.kind, &cause) {
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
        let Some(task) = self.tasks.get(&id) else { return };
        let Answered { class, headers, body, sent: Sent { bytes: sent, marks }, error } = answered;
        let (kind, url, is_repeated) = (task.kind, task.uri.clone(), task.failed > 0);
        let reply = Reply { kind, class, url, is_repeated, headers, body, sent, marks, error };
        self.end(id, Ok(Fetched::Reply(Box::new(reply))));
    }

    fn refused(&mut self, id: TaskId, status: StatusCode, headers: &HeaderMap, body: &[u8]) {
        self.remember(id);
        if self.fall_back_to_get(id, status) {
            return;
        }
        let Some(task) = self.tasks.get(&id) else { return };
        let by = responder(task);
        let mut refusal = error_body::refusal(status, by, headers, body, self.config.limits.error_entries);
        let class = match task.kind.classify(status) {
            Class::Trouble if status::refuses_manifest(task.kind, &refusal) => Class::Final,
            class => class,
        };
        match (class, &task.purpose) {
            (Class::Redirect, _) => self.redirected(id, headers),
            (Class::Challenge, Purpose::Fetch { fetch, .. } | Purpose::Cleanup(fetch))
                if by == Responder::Registry =>
            {
                match self.auth.challenged(id, &fetch.target, &task.uri, refusal, headers, self.targets) {
                    Ok(()) => self.start_over(id),
                    Err(cause) => self.fail_task(id, cause),
                }
            }
            (Class::Trouble, _) => {
                let asked = refusal.retry_after;
                refusal.with_login = self.has_login(id);
                // A rate-limited request was not processed, so even one that is not idempotent can be
                // repeated.
                if task.kind.may_repeat() || status::slows_all(status) {
                    self.retry_later(id, refusal.into(), asked);
                } else {
                    self.fail_task(id, refusal.into());
                }
            }
            _ => {
                refusal.with_login = self.has_login(id);
                self.fail_or_fetch_whole(id, refusal.into());
            }
        }
    }

    fn has_login(&self, id: TaskId) -> bool {
        match self.tasks.get(&id).map(|task| &task.purpose) {
            Some(Purpose::Token(token)) => token.has_login(),
            Some(Purpose::Fetch { fetch, .. } | Purpose::Cleanup(fetch)) => {
                self.auth.has_login(&fetch.target)
            }
            None => false,
        }
    }

    fn redirected(&mut self, id: TaskId, headers: &HeaderMap) {
        match self.redirect_target(id, headers) {
            Ok(()) => self.queue(id),
            Err(cause) => self.fail_or_fetch_whole(id, cause),
        }
    }

    /// Points a task to the target of a redirect.
    fn redirect_target(&mut self, id: TaskId, headers: &HeaderMap) -> Result<(), Cause> {
        let (limit, plain_http) = (self.config.limits.redirects, self.config.plain_http);
        let Some(task) = self.tasks.get_mut(&id) else { return Ok(()) };
        if task.redirects >= limit {
            return Err(LimitExceeded::Redirects(limit).into());
        }
        let target = match task.purpose {
            Purpose::Fetch { .. } | Purpose::Cleanup(_) => origin::redirect(&task.uri, headers, plain_http)?,
            Purpose::Token(_) => origin::token_redirect(&task.uri, headers, plain_http)?,
        };
        task.redirects += 1;
        task.set_uri(target);
        Ok(())
    }

    /// Queues the task's next attempt, at its initial URL.
    fn start_over(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.reset_uri();
            self.queue(id);
        }
    }

    /// Falls back to GET if the token server does not accept a refresh token by POST. Returns whether it
    /// did.
    fn fall_back_to_get(&mut self, id: TaskId, status: StatusCode) -> bool {
        let Some(task) = self.tasks.get_mut(&id) else { return false };
        let Purpose::Token(token) = &mut task.purpose else { return false };
        if !token.fall_back(status) {
            return false;
        }
        task.kind = token.kind();
        task.start_uri = token.uri();
        task.failed = 0;
        self.start_over(id);
        true
    }

    /// Ends a token request, and resumes or fails the tasks that wait for its token.
    fn token_settled(&mut self, id: TaskId, outcome: Result<&TokenAnswer, &Error>) {
        self.remember(id);
        self.tasks.remove(&id);
        for (waiting, outcome) in self.auth.fetched(id, outcome, self.now, self.targets) {
            match outcome {
                Ok(()) => self.queue(waiting),
                Err(error) => self.end(waiting, Err(error)),
            }
        }
    }

    /// Handles a blob that was interrupted: the next attempt resumes where it stopped.
    fn resume_later(&mut self, id: TaskId, part: Box<BlobWant>, cause: Cause) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let before = task.part.as_ref().map_or(0, |before| before.sink.offset);
        let left = part.end().map(|end| end.saturating_sub(before));
        if retry::is_progress(part.sink.offset.saturating_sub(before), left, part.skipped) {
            task.failed = 0;
            self.auth.progressed(id);
        }
        task.part = Some(part);
        self.attempt_failed(id, cause);
    }

    /// Handles a failed attempt: retries it if that may help.
    pub(super) fn attempt_failed(&mut self, id: TaskId, cause: Cause) {
        self.remember(id);
        let Some(task) = self.tasks.get(&id) else { return };
        if retry::is_retryable(task.kind, &cause) {
            self.retry_later(id, cause, None);
        } else {
            self.fail_or_fetch_whole(id, cause);
        }
    }

    /// Schedules the next attempt, if any is left.
    fn retry_later(&mut self, id: TaskId, cause: Cause, asked: Option<Duration>) {
        let limits = &self.config.limits;
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let failed = task.failed.saturating_add(1);
        let Some(delay) = retry::delay(limits, failed, asked, &mut self.jitter) else {
            return self.fail_task(id, cause);
        };
        if failed >= limits.max_attempts {
            return self.fail_or_fetch_whole(id, cause);
        }
        task.failed = failed;
        let at = self.now + delay;
        if let Cause::Answered(refusal) = &cause
            && status::slows_all(refusal.status)
        {
            self.lanes.close(&task.origin, at, self.now);
        }
        self.report_retry(id, cause, delay, failed);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.reset_uri();
        task.state = TaskState::Asleep(at);
        self.timers.insert((at, id));
    }

    /// Fails a task, unless a part of a blob was requested: then requests the whole blob, once. The sink skips the
    /// bytes that it has.
    ///
    /// Source: RFC 9110, section 14.2, which lets a server ignore or refuse ranges.
    fn fail_or_fetch_whole(&mut self, id: TaskId, cause: Cause) {
        let helps = match &cause {
            Cause::Misbehaved(misbehaviour) => !is_wrong_content(misbehaviour),
            // A server that asks for a delay refuses the whole too.
            Cause::Answered(refusal) => {
                refusal.status != StatusCode::TOO_MANY_REQUESTS
                    && !(status::slows_all(refusal.status) && refusal.retry_after.is_some())
            }
            Cause::Limit(limit) => matches!(limit, LimitExceeded::Redirects(_)),
            Cause::Transport(fault) => matches!(fault.kind(), FaultKind::Reset | FaultKind::Timeout),
            Cause::Request(_) => false,
        };
        let part = self.tasks.get_mut(&id).and_then(|task| task.part.as_mut());
        let Some(part) = part.filter(|part| helps && part.start() > 0) else {
            return self.fail_task(id, cause);
        };
        part.whole = true;
        self.repeat(id, cause);
    }

    /// Starts a blob over, once, if its bytes are wrong and earlier responses or the driver supplied some of
    /// them. Returns whether it did.
    fn starts_over(&mut self, id: TaskId, cause: &Cause) -> bool {
        let Some(task) = self.tasks.get_mut(&id) else { return false };
        let Purpose::Fetch { fetch, .. } = &mut task.purpose else { return false };
        let (FetchKind::Blob(blob), Some(part)) = (&mut fetch.kind, &mut task.part) else { return false };
        let is_wrong = matches!(cause, Cause::Misbehaved(misbehaviour) if is_wrong_content(misbehaviour));
        if !is_wrong || part.sink.offset == 0 || !blob.may_restart {
            return false;
        }
        (blob.may_restart, blob.resume) = (false, None);
        part.start_over();
        task.failed = 0;
        self.repeat(id, cause.clone());
        true
    }

    /// Repeats a task's request, in another form, without delay. It does not count as an attempt, since it
    /// happens once.
    fn repeat(&mut self, id: TaskId, cause: Cause) {
        self.report_retry(id, cause, Duration::ZERO, 0);
        self.start_over(id);
    }

    fn report_retry(&mut self, id: TaskId, cause: Cause, delay: Duration, failed: u32) {
        let Some(task) = self.tasks.get(&id) else { return };
        let error = task.error(cause);
        self.report(id, &error, delay, failed);
    }

    /// Reports that a request failed and is retried.
    pub(super) fn report(&mut self, id: TaskId, error: &Error, delay: Duration, failed: u32) {
        for op in self.ops_of(id) {
            self.notice(op, Event::Retry(Retry { error: error.clone(), delay, failed }));
        }
    }

    /// Fails a task.
    pub(super) fn fail_task(&mut self, id: TaskId, cause: Cause) {
        let Some(task) = self.tasks.get(&id) else { return };
        let error = task.error(cause);
        match &task.purpose {
            Purpose::Fetch { .. } | Purpose::Cleanup(_) => self.end(id, Err(error)),
            Purpose::Token(_) => self.token_settled(id, Err(&error)),
        }
    }

    /// Ends a fetch.
    pub(super) fn end(&mut self, id: TaskId, outcome: Result<Fetched, Error>) {
        self.stop_other_half(id, &outcome);
        let Some(task) = self.remove_task(id) else { return };
        let Purpose::Fetch { op, fetch } = &task.purpose else { return };
        if let Some(running) = self.ops.get_mut(op) {
            running.tasks.remove(&id);
            task.add_to(&mut running.shown);
            running.op.settle(fetch, outcome, &mut self.habits);
            self.wake(*op);
        }
    }

    /// Stops the other half of a pair if no bytes flow any more: if its upload has ended, in any way, or its download
    /// has failed. The operation learns only of the half that has ended, and sends both again if that may help.
    fn stop_other_half(&mut self, id: TaskId, outcome: &Result<Fetched, Error>) {
        let Some(task) = self.tasks.get(&id) else { return };
        let (Some(half), Some(op)) = (&task.half, task.op()) else { return };
        if outcome.is_err() || task.is_fed {
            let other = half.other;
            self.forget_task(op, other);
        }
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

/// Returns whether the sink has taken bytes that may not belong to the content.
fn is_wrong_content(misbehaviour: &Misbehaviour) -> bool {
    use Misbehaviour::{ContentEncoding, TooLong, WrongDigest};
    matches!(misbehaviour, WrongDigest { .. } | ContentEncoding(_) | TooLong { .. })
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
        (Outcome::Head, Some(FetchKind::Call(call))) => call.body_limit == 0,
        (Outcome::Body(_), Some(FetchKind::Call(call))) => call.body_limit > 0,
        (Outcome::Manifest(digest, manifest), Some(FetchKind::Manifest { expected, .. })) => {
            let size = manifest.bytes().len() as u64;
            expected.digest.as_ref().is_none_or(|expected| expected == digest)
                && expected.size.is_none_or(|expected| expected == size)
        }
        (Outcome::Manifest(digest, manifest), Some(FetchKind::Config(config))) => {
            config.digest == *digest && config.size == manifest.bytes().len() as u64
        }
        (Outcome::Blob(digest), Some(FetchKind::Blob(blob))) => blob.digest == *digest,
        (Outcome::Partial(part, _), Some(FetchKind::Blob(blob))) => {
            blob.digest == part.sink.digest && task.op() == Some(part.sink.op)
        }
        _ => false,
    }
}

fn responder(task: &Task) -> Responder {
    match &task.purpose {
        Purpose::Token(_) => Responder::TokenServer,
        Purpose::Fetch { fetch, .. } | Purpose::Cleanup(fetch)
            if fetch.target.origin == task.origin && task.kind != RequestKind::GetElsewhere =>
        {
            Responder::Registry
        }
        Purpose::Fetch { .. } | Purpose::Cleanup(_) => Responder::Elsewhere,
    }
}

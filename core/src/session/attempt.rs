//! Handles the end of an attempt of a task: the task ends, is redirected, or is retried.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::error::fault::FaultKind;
use crate::error::{Cause, Error, LimitExceeded, Responder};
use crate::op::operation::FetchKind;
use crate::session::mirrors;
use crate::session::retry;
use crate::session::state::Session;
use crate::session::task::{Purpose, TaskState};
use crate::types::id::TaskId;
use crate::types::token::TokenAnswer;
use crate::wire::exchange::want::BlobWant;
use crate::wire::status::{self, Class};
use crate::wire::{error_body, origin};

impl Session {
    pub(super) fn refused(&mut self, id: TaskId, status: StatusCode, headers: &HeaderMap, body: &[u8]) {
        self.remember(id);
        if self.fall_back_to_get(id, status) {
            return;
        }
        let Some(task) = self.tasks.get(&id) else { return };
        let by = task.responder();
        let mut refusal = error_body::refusal(status, by, headers, body, self.config.limits.error_entries);
        let class = match task.kind.classify(status, headers) {
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

    pub(super) fn has_login(&self, id: TaskId) -> bool {
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
    pub(super) fn redirect_target(&mut self, id: TaskId, headers: &HeaderMap) -> Result<(), Cause> {
        let (limit, plain_hosts) = (self.config.limits.redirects, self.config.plain_hosts());
        let Some(task) = self.tasks.get_mut(&id) else { return Ok(()) };
        if task.redirects >= limit {
            return Err(LimitExceeded::Redirects(limit).into());
        }
        let target = match task.purpose {
            Purpose::Fetch { .. } | Purpose::Cleanup(_) => {
                origin::redirect(&task.uri, headers, &plain_hosts)?
            }
            Purpose::Token(_) => origin::token_redirect(&task.uri, headers, &plain_hosts)?,
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
    pub(super) fn token_settled(&mut self, id: TaskId, outcome: Result<&TokenAnswer, &Error>) {
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
    pub(super) fn resume_later(&mut self, id: TaskId, part: Box<BlobWant>, cause: Cause) {
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
        if task.mirrored.is_some() && mirrors::is_given_up(&cause, failed) {
            return self.fail_task(id, cause);
        }
        let Some(delay) = retry::delay(limits, failed, asked, &mut self.jitter) else {
            return self.fail_task(id, cause);
        };
        if failed >= limits.max_attempts {
            return self.fail_or_fetch_whole(id, cause);
        }
        task.failed = failed;
        task.is_repeated |= retry::may_have_effect(&cause);
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
    pub(super) fn fail_or_fetch_whole(&mut self, id: TaskId, cause: Cause) {
        let helps = match &cause {
            Cause::Misbehaved(_) => !cause.is_wrong_content(),
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
    /// them. Returns whether it did. At a mirror, only the bytes of the driver are a reason: the next source starts over.
    pub(super) fn starts_over(&mut self, id: TaskId, cause: &Cause) -> bool {
        let Some(task) = self.tasks.get_mut(&id) else { return false };
        let is_mirrored = task.mirrored.is_some();
        let Purpose::Fetch { fetch, .. } = &mut task.purpose else { return false };
        let (FetchKind::Blob(blob), Some(part)) = (&mut fetch.kind, &mut task.part) else { return false };
        if !cause.is_wrong_content() || part.sink.offset == 0 || !blob.may_restart {
            return false;
        }
        if is_mirrored && blob.resume.is_none() {
            return false;
        }
        (blob.may_restart, blob.resume) = (is_mirrored, None);
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

    /// Fails a task.
    pub(super) fn fail_task(&mut self, id: TaskId, cause: Cause) {
        let Some(task) = self.tasks.get(&id) else { return };
        let error = task.error(cause);
        match &task.purpose {
            Purpose::Fetch { .. } | Purpose::Cleanup(_) => self.end(id, Err(error)),
            Purpose::Token(_) => self.token_settled(id, Err(&error)),
        }
    }
}

//! What the end of an exchange means to its task.

use std::collections::BTreeSet;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::error::fault::{Fault, FaultKind};
use crate::error::{Cause, Error, LimitExceeded, Responder};
use crate::op::Fetched;
use crate::op::event::{Event, Retry};
use crate::session::lanes::Job;
use crate::session::task::{Purpose, Task, TaskState};
use crate::session::{Session, retry};
use crate::types::id::{OpId, TaskId};
use crate::types::token::TokenAnswer;
use crate::wire::exchange::blob::BlobWant;
use crate::wire::exchange::{Answer, Completion};
use crate::wire::redact::Redactor;
use crate::wire::status::Class;
use crate::wire::{error_body, origin, status};

impl Session {
    /// Takes what an exchange brought to its task.
    pub(super) fn settle(&mut self, id: TaskId, completion: Completion) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let echo = std::mem::take(&mut task.echo);
        if let (Some((_, headers)), Some(op)) = (&completion.head, task.op()) {
            self.warn(op, headers, &echo);
        }
        match (completion.answer, completion.head) {
            (Answer::Described, Some((_, headers))) => self.end(id, Ok(Fetched::Head(headers))),
            (Answer::Manifest(digest, manifest), _) => self.end(id, Ok(Fetched::Manifest(digest, manifest))),
            (Answer::Blob, _) => self.end(id, Ok(Fetched::Blob)),
            (Answer::Token(answer), _) => self.token_settled(id, Ok(&answer)),
            (Answer::Part(part, cause), _) => self.keep_part(id, part, cause),
            (Answer::Refused(body), Some((status, headers))) => {
                self.refused(id, status, &headers, &body, &echo);
            }
            (Answer::Broken(cause), _) => self.broken(id, cause),
            // No exchange is answered so.
            (Answer::Described | Answer::Refused(_), None) => {
                self.broken(id, Fault::new(FaultKind::Reset, "no head").into());
            }
        }
    }

    fn refused(&mut self, id: TaskId, status: StatusCode, headers: &HeaderMap, body: &[u8], echo: &Redactor) {
        if self.ask_for_token_by_get(id, status) {
            return;
        }
        let Some(task) = self.tasks.get(&id) else { return };
        let by = self.responder(task);
        let mut refusal =
            error_body::refusal(status, by, headers, body, echo, self.config.limits.error_entries);
        match (task.kind.classify(status), &task.purpose) {
            (Class::Redirect, _) => self.redirected(id, headers),
            (Class::Challenge, Purpose::Fetch { .. }) if by == Responder::Registry => {
                match self.auth.challenged(id, refusal, headers, self.ops.len()) {
                    Ok(()) => self.start_over(id),
                    Err(cause) => self.fail(id, cause),
                }
            }
            (Class::Trouble, _) => {
                let asked = refusal.retry_after;
                refusal.with_login = self.shows_login(id);
                // What slows all was not acted on, so that even what is not idempotent can be sent again.
                if task.kind.may_repeat() || status::slows_all(status) {
                    self.try_again(id, refusal.into(), asked);
                } else {
                    self.fail(id, refusal.into());
                }
            }
            _ => {
                refusal.with_login = self.shows_login(id);
                self.fail(id, refusal.into());
            }
        }
    }

    fn responder(&self, task: &Task) -> Responder {
        match task.op().and_then(|op| self.ops.get(&op)) {
            None => Responder::TokenServer,
            Some(running) if running.origin == task.origin => Responder::Registry,
            Some(_) => Responder::Elsewhere,
        }
    }

    fn shows_login(&self, id: TaskId) -> bool {
        match self.tasks.get(&id).map(|task| &task.purpose) {
            Some(Purpose::Token(token)) => token.has_login(),
            _ => self.auth.has_login(id),
        }
    }

    fn redirected(&mut self, id: TaskId, headers: &HeaderMap) {
        let (limit, plain_http) = (self.config.limits.redirects, self.config.plain_http);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if task.redirects >= limit {
            return self.fail(id, LimitExceeded::Redirects(limit).into());
        }
        let leads_to = match task.purpose {
            Purpose::Fetch { .. } => origin::redirect(&task.target, headers, plain_http),
            Purpose::Token(_) => origin::token_redirect(&task.target, headers, plain_http),
        };
        match leads_to {
            Ok(target) => {
                task.redirects += 1;
                task.turn_to(target);
                self.queue(id);
            }
            Err(misbehaviour) => self.fail(id, misbehaviour.into()),
        }
    }

    /// The next attempt begins at the task's own URL.
    fn start_over(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.turn_home();
            self.queue(id);
        }
    }

    /// Turns to GET if the token server does not take a refresh token by POST. Returns whether it did.
    fn ask_for_token_by_get(&mut self, id: TaskId, status: StatusCode) -> bool {
        let Some(task) = self.tasks.get_mut(&id) else { return false };
        let Purpose::Token(token) = &mut task.purpose else { return false };
        if !token.fall_back(status) {
            return false;
        }
        task.kind = token.kind();
        task.home = token.uri();
        task.failed = 0;
        self.start_over(id);
        true
    }

    /// A token request has ended, and so does the wait of others for its token.
    fn token_settled(&mut self, id: TaskId, outcome: Result<&TokenAnswer, &Error>) {
        self.tasks.remove(&id);
        for (waiting, outcome) in self.auth.fetched(id, outcome, self.now, self.ops.len()) {
            match outcome {
                Ok(()) => self.queue(waiting),
                Err(error) => self.end(waiting, Err(error)),
            }
        }
    }

    /// A blob broke off: it goes on where it stopped.
    fn keep_part(&mut self, id: TaskId, part: Box<BlobWant>, cause: Cause) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let before = task.part.as_ref().map_or(0, |before| before.sink.offset);
        let left = part.end().map(|end| end.saturating_sub(before));
        if retry::is_progress(part.sink.offset.saturating_sub(before), left) {
            task.failed = 0;
            self.auth.progressed(id);
        }
        task.part = Some(part);
        self.broken(id, cause);
    }

    fn broken(&mut self, id: TaskId, cause: Cause) {
        let Some(task) = self.tasks.get(&id) else { return };
        if retry::is_worth_it(task.kind, &cause) {
            self.try_again(id, cause, None);
        } else {
            self.fail(id, cause);
        }
    }

    /// Tries again after a while, if there are tries left.
    fn try_again(&mut self, id: TaskId, cause: Cause, asked: Option<Duration>) {
        let limits = &self.config.limits;
        let Some(task) = self.tasks.get_mut(&id) else { return };
        task.failed = task.failed.saturating_add(1);
        let failed = task.failed;
        let delay = retry::delay(limits, failed, asked, &mut self.jitter);
        let Some(delay) = delay.filter(|_| failed < limits.max_attempts) else {
            return self.fail(id, cause);
        };
        let at = self.now + delay;
        if let Cause::Answered(refusal) = &cause
            && status::slows_all(refusal.status)
        {
            self.lanes.close(&task.origin, at, self.now);
        }
        let error = Error::of_request(&task.kind.method(), &task.target, cause);
        task.turn_home();
        task.place = TaskState::Asleep(at);
        self.timers.insert((at, id));
        for op in self.ops_of(id) {
            self.notice(op, Event::Retry(Retry { error: error.clone(), delay, failed }));
        }
    }

    /// The operations that a task serves, each once.
    fn ops_of(&self, id: TaskId) -> BTreeSet<OpId> {
        match self.tasks.get(&id).map(|task| &task.purpose) {
            Some(Purpose::Fetch { op, .. }) => BTreeSet::from([*op]),
            Some(Purpose::Token(_)) => {
                self.auth.waiting_for(id).filter_map(|id| self.tasks.get(&id)?.op()).collect()
            }
            None => BTreeSet::new(),
        }
    }

    /// The task cannot bring what it is for.
    pub(super) fn fail(&mut self, id: TaskId, cause: Cause) {
        let Some(task) = self.tasks.get(&id) else { return };
        let error = Error::of_request(&task.kind.method(), &task.target, cause);
        match &task.purpose {
            Purpose::Fetch { .. } => self.end(id, Err(error)),
            Purpose::Token(_) => self.token_settled(id, Err(&error)),
        }
    }

    /// Ends a fetch.
    pub(super) fn end(&mut self, id: TaskId, outcome: Result<Fetched, Error>) {
        let Some(Task { purpose: Purpose::Fetch { op, fetch }, .. }) = self.tasks.remove(&id) else { return };
        self.auth.release(id);
        if let Some(running) = self.ops.get_mut(&op) {
            running.tasks.remove(&id);
            running.op.settle(&fetch, outcome);
            self.wake(op);
        }
    }

    /// Puts a task into its origin's lane.
    pub(super) fn queue(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.place = TaskState::Queued;
            self.lanes.push(&task.origin, Job::Task(id));
        }
    }

    fn warn(&mut self, op: OpId, headers: &HeaderMap, echo: &Redactor) {
        let limit = self.config.limits.warnings;
        let Some(running) = self.ops.get_mut(&op) else { return };
        for warning in error_body::warnings(headers, echo) {
            if running.warned.len() < limit && running.warned.insert(warning.clone()) {
                running.notices.push_back(Event::Warning(warning));
            }
        }
        self.wake(op);
    }
}

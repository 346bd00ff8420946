//! Mirrors: content is requested from them, in order, and from the registry itself last.

use std::sync::Arc;

use crate::error::fault::FaultKind;
use crate::error::{Cause, Error};
use crate::op::event::{Event, MirrorReport};
use crate::op::operation::{Fetch, FetchKind};
use crate::session::state::Session;
use crate::types::id::{OpId, TaskId};
use crate::wire::status;
use crate::wire::target::Target;

/// The number of attempts of a request to a mirror. Another source is there to help.
const MAX_ATTEMPTS: u32 = 2;

impl Session {
    /// Reports what a mirror did, and avoids it if it failed. The next attempt at a fetch that feeds an upload is a new
    /// one, so a mirror that only lacks the content is avoided too.
    pub(super) fn mirror_settled(&mut self, op: OpId, mirror: &Target, is_fed: bool, error: Option<&Error>) {
        let Some(repository) = mirror.repository.clone() else { return };
        match error {
            Some(error) if error.is_not_found() && !is_fed => {}
            Some(error) if is_own_fault(error) => return,
            Some(error) => self.avoided.add(mirror, error, self.now),
            None => {
                let supplied = (mirror.origin.clone(), Some(repository.clone()));
                if !self.ops.get_mut(&op).is_some_and(|running| running.supplied.insert(supplied)) {
                    return;
                }
            }
        }
        let (registry, error) = (mirror.registry.clone(), error.cloned());
        self.notice(op, Event::Mirror(MirrorReport { registry, repository, error }));
    }

    /// Reports the mirror that has supplied the content of an upload, if one did.
    pub(super) fn report_source(&mut self, op: OpId, download: TaskId) {
        let Some(task) = self.tasks.get(&download).filter(|task| task.mirrored.is_some()) else { return };
        let Some(mirror) = task.fetch().map(|fetch| Arc::clone(&fetch.target)) else { return };
        self.mirror_settled(op, &mirror, true, None);
    }
}

/// Returns whether the destination or the caller is at fault, and every source would fail.
fn is_own_fault(error: &Error) -> bool {
    match error.cause() {
        Cause::Transport(fault) => fault.kind() == FaultKind::Storage,
        Cause::Request(_) => true,
        Cause::Answered(_) | Cause::Misbehaved(_) | Cause::Limit(_) => false,
    }
}

/// Returns whether another source may supply what a mirror did not.
pub(super) fn may_ask_others(fetch: &Fetch, error: &Error) -> bool {
    match error.cause() {
        _ if is_own_fault(error) => false,
        // A sink that cannot start over has taken bytes of the mirror.
        cause if cause.is_wrong_content() => match &fetch.kind {
            FetchKind::Blob(blob) => blob.may_restart || blob.feeds_from.is_some(),
            _ => true,
        },
        _ => true,
    }
}

/// Returns whether a request to a mirror is not retried after this failure, since another source can be asked at once.
pub(super) fn is_given_up(cause: &Cause, failed: u32) -> bool {
    match cause {
        Cause::Transport(fault) if fault.kind() == FaultKind::Connect => true,
        Cause::Answered(refusal) if status::slows_all(refusal.status) => true,
        _ => failed >= MAX_ATTEMPTS,
    }
}

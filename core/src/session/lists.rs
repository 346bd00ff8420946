//! Bookkeeping: how operations and tasks enter and leave the queues and maps of a session.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use http::Uri;

use crate::error::Error;
use crate::op::event::Event;
use crate::op::operation::{Call, Recipient};
use crate::session::lanes::Job;
use crate::session::state::Session;
use crate::session::task::{Half, Purpose, Task, TaskState};
use crate::types::id::{ExchangeId, OpId, TaskId};
use crate::wire::origin::Origin;
use crate::wire::status::RequestKind;
use crate::wire::target::Target;

impl Session {
    /// Marks the operation as ready: it may have an output or a fetch.
    pub(super) fn wake(&mut self, op: OpId) {
        let Some(running) = self.ops.get_mut(&op) else { return };
        if !mem::replace(&mut running.is_ready, true) {
            self.ready.push_back(op);
        }
        for target in running.op.targets() {
            let origin = self.avoided.first_source(target, self.now);
            if !running.queued.contains(origin) {
                running.queued.push(origin.clone());
                self.lanes.push(origin, Job::Op(op));
            }
        }
    }

    /// Reports an event that the session itself raises.
    pub(super) fn notice(&mut self, op: OpId, event: Event) {
        if let Some(running) = self.ops.get_mut(&op) {
            running.notices.push_back(event);
            self.wake(op);
        }
    }

    /// Fails the operation from outside, such as at its deadline. The first error is kept.
    pub(super) fn end_operation(&mut self, op: OpId, error: Error) {
        self.stop_tasks(op);
        if let Some(running) = self.ops.get_mut(&op) {
            running.ended.get_or_insert(error);
            self.wake(op);
        }
    }

    /// Removes the operation, with its tasks and questions.
    pub(super) fn remove(&mut self, op: OpId) {
        self.stop_tasks(op);
        let Some(running) = self.ops.remove(&op) else { return };
        self.cancel_uploads(running.op.open_uploads());
        self.targets -= running.targets;
        if let Some(at) = running.deadline {
            self.deadlines.remove(&(at, op));
        }
        for query in running.asked {
            self.asked.remove(&query);
        }
        for origin in &running.queued {
            self.forget_job(origin);
        }
    }

    /// Cancels the upload sessions of an operation that ends, in the background. Each is tried once.
    ///
    /// Source: distribution-spec, end-14.
    pub(super) fn cancel_uploads(&mut self, uploads: Vec<(Arc<Target>, Uri)>) {
        /// The number of cancellations under way, beyond which upload sessions are left to expire.
        const MAX: usize = 32;
        let under_way = self.tasks.values().filter(|task| matches!(task.purpose, Purpose::Cleanup(_)));
        let room = MAX.saturating_sub(under_way.count());
        for (target, url) in uploads.into_iter().take(room) {
            let Some(origin) = Origin::of(&url) else { continue };
            let kind = RequestKind::CancelUpload;
            let fetch = Call::new(kind, Recipient::Url(url.clone())).at(&target, None);
            let id = self.ids.task();
            self.tasks.insert(id, Task::new(Purpose::Cleanup(fetch), kind, url, origin, None));
            self.queue(id);
        }
    }

    /// Notes that a job for the origin has lost its operation or its task.
    fn forget_job(&mut self, origin: &Origin) {
        let Self { ops, tasks, lanes, now, .. } = self;
        let is_alive = |job| match job {
            Job::Op(op) => ops.contains_key(&op),
            Job::Task(task) => tasks.contains_key(&task),
            Job::Pair(first, second) => is_pair(tasks, first, second),
        };
        lanes.forget(origin, *now, is_alive);
    }

    /// Queues a task in the lane of its origin.
    pub(super) fn queue(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let origin = task.origin.clone();
        match &task.half {
            Some(Half { other, admitted: false, .. }) => {
                let other = *other;
                task.state = TaskState::Paired;
                // A driver opens the way for the bytes with the download.
                let (first, second) = if task.is_fed { (other, id) } else { (id, other) };
                if self.tasks.get(&other).is_some_and(|other| matches!(other.state, TaskState::Paired)) {
                    self.lanes.push(&origin, Job::Pair(first, second));
                }
                return;
            }
            Some(Half { admitted: true, .. }) => self.lanes.push_urgent(&origin, id),
            None if task.op().is_none() => self.lanes.push_urgent(&origin, id),
            None => self.lanes.push(&origin, Job::Task(id)),
        }
        task.state = TaskState::Queued;
    }

    /// Ends an exchange and frees its slot. Returns its task.
    pub(super) fn end_exchange(&mut self, exchange: ExchangeId) -> Option<TaskId> {
        let id = self.in_flight.remove(&exchange)?;
        self.release_slot(id);
        self.tasks.contains_key(&id).then_some(id)
    }

    /// Frees the slot of a task whose exchange has ended. A half keeps it for its next attempt.
    pub(super) fn release_slot(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        self.lanes.ended(&task.origin, self.now);
        if let Some(half) = &mut task.half {
            self.lanes.reserve(&task.origin);
            half.slot = Some(task.origin.clone());
        }
    }

    /// Returns whether all counted requests in flight are halves that wait for their other half to be sent.
    pub(super) fn only_halves_wait(&self, counts: impl Fn(&Task) -> bool) -> bool {
        let needs_nothing = |task: &Task| matches!(task.state, TaskState::InFlight(_) | TaskState::Delivered);
        let waits = |task: &Task| {
            let other = task.half.as_ref().and_then(|half| self.tasks.get(&half.other));
            other.is_some_and(|other| !needs_nothing(other))
        };
        self.in_flight.values().filter_map(|id| self.tasks.get(id)).filter(|task| counts(task)).all(waits)
    }

    /// Returns the operations that a task serves, each once.
    pub(super) fn ops_of(&self, id: TaskId) -> BTreeSet<OpId> {
        match self.tasks.get(&id).map(|task| &task.purpose) {
            Some(Purpose::Fetch { op, .. }) => BTreeSet::from([*op]),
            Some(Purpose::Token(_)) => {
                self.auth.waiting_for(id).filter_map(|id| self.tasks.get(&id)?.op()).collect()
            }
            Some(Purpose::Cleanup(_)) | None => BTreeSet::new(),
        }
    }

    /// Stops all tasks of the operation.
    pub(super) fn stop_tasks(&mut self, op: OpId) {
        let Some(running) = self.ops.get_mut(&op) else { return };
        for id in mem::take(&mut running.tasks) {
            self.stop(id);
        }
    }

    /// Stops a task of an operation that does not learn of it.
    pub(super) fn forget_task(&mut self, op: OpId, id: TaskId) {
        if let Some(running) = self.ops.get_mut(&op) {
            running.tasks.remove(&id);
        }
        self.stop(id);
    }

    /// Stops a task, and aborts its exchange.
    pub(super) fn stop(&mut self, id: TaskId) {
        let Some(task) = self.remove_task(id) else { return };
        match task.state {
            TaskState::InFlight(exchange) => {
                self.in_flight.remove(&exchange);
                self.lanes.ended(&task.origin, self.now);
                self.abort_exchange(exchange);
            }
            TaskState::Asleep(until) => _ = self.timers.remove(&(until, id)),
            TaskState::Queued
            | TaskState::Parked
            | TaskState::Waiting
            | TaskState::Paired
            | TaskState::Delivered => {}
        }
    }

    /// Aborts the exchange of a task that continues without it.
    pub(super) fn abort(&mut self, id: TaskId) {
        let Some(TaskState::InFlight(exchange)) = self.tasks.get(&id).map(|task| &task.state) else { return };
        let exchange = *exchange;
        self.end_exchange(exchange);
        self.abort_exchange(exchange);
    }

    fn abort_exchange(&mut self, exchange: ExchangeId) {
        let unsent = self.outbox.iter().position(|unsent| unsent.id() == exchange);
        match unsent {
            Some(at) => drop(self.outbox.remove(at)),
            None => self.aborts.push_back(exchange),
        }
    }

    /// Removes a task from everything except the collection that its state refers to.
    pub(super) fn remove_task(&mut self, id: TaskId) -> Option<Task> {
        let task = self.tasks.remove(&id)?;
        if let Some(fetch) = self.auth.release(id) {
            self.stop(fetch);
        }
        if let Some(Half { other, slot, .. }) = &task.half {
            self.lanes.forget_pair(id);
            if let Some(origin) = slot {
                self.lanes.unreserve(origin, self.now);
            }
            if let Some(left) = self.tasks.get_mut(other) {
                // The remaining half becomes an ordinary task.
                if let Some(origin) = left.half.take().and_then(|half| half.slot) {
                    self.lanes.unreserve(&origin, self.now);
                }
                if matches!(left.state, TaskState::Paired) {
                    // The lane of either half may hold their job.
                    let origin = left.origin.clone();
                    self.forget_job(&origin);
                    self.queue(*other);
                }
            }
        }
        if matches!(task.state, TaskState::Queued | TaskState::Paired) {
            self.forget_job(&task.origin);
        }
        Some(task)
    }
}

/// Returns whether both tasks exist, and each is the other's half.
pub(super) fn is_pair(tasks: &BTreeMap<TaskId, Task>, first: TaskId, second: TaskId) -> bool {
    let other_of = |id| tasks.get(&id).and_then(|task| task.half.as_ref()).map(|half| half.other);
    other_of(first) == Some(second) && other_of(second) == Some(first)
}

#[cfg(test)]
mod tests {
    use http::header::{LOCATION, WWW_AUTHENTICATE};
    use http::{HeaderMap, HeaderName, StatusCode};

    use super::*;
    use crate::config::Config;
    use crate::session::output::{Answer, Output, Question};
    use crate::types::time::Time;
    use crate::wire::exchange::Exchange;

    /// A session with room for one request per origin.
    fn session() -> Session {
        let mut config = Config::default();
        config.limits.in_flight_per_origin = 1;
        Session::new(config, 0)
    }

    fn resolve(session: &mut Session, registry: &str, name: usize) -> OpId {
        session.resolve(&format!("{registry}/team/n{name}:1").parse().unwrap(), None)
    }

    fn sent(session: &mut Session) -> Exchange {
        match session.poll_output(Time::ZERO) {
            Output::Send(exchange) => exchange,
            other => panic!("{other:?}"),
        }
    }

    fn refuse(session: &mut Session, exchange: Exchange, status: u16, header: (HeaderName, &'static str)) {
        let (name, value) = header;
        let headers = HeaderMap::from_iter([(name, value.parse().unwrap())]);
        let receiving = exchange.split().2.head(StatusCode::from_u16(status).unwrap(), headers);
        session.complete(Time::ZERO, receiving.finish());
    }

    fn assert_waits(session: &mut Session) {
        let output = session.poll_output(Time::ZERO);
        assert!(matches!(output, Output::Wait(None)), "{output:?}");
    }

    fn assert_few_jobs_wait(session: &Session) {
        let queued = session.lanes.queued();
        assert!(queued.len() < 10, "{} jobs wait", queued.len());
    }

    #[test]
    fn operations_that_end_while_their_registry_is_busy_leave_nothing_behind() {
        let mut session = session();
        let _busy = resolve(&mut session, "registry.example", 0);
        let _exchange = sent(&mut session);
        let waiting = resolve(&mut session, "registry.example", 0);
        for _ in 0..1000 {
            let op = resolve(&mut session, "registry.example", 0);
            assert_waits(&mut session);
            session.cancel(op);
        }
        assert_few_jobs_wait(&session);
        assert!(session.lanes.queued().contains(&Job::Op(waiting)));
    }

    #[test]
    fn operations_that_end_while_the_target_of_a_redirect_is_busy_leave_nothing_behind() {
        let mut session = session();
        let mut redirected = |n: usize| {
            let op = resolve(&mut session, "registry.example", n);
            let exchange = sent(&mut session);
            refuse(&mut session, exchange, 307, (LOCATION, "https://storage.example/"));
            if n == 0 {
                let _busy = sent(&mut session);
            }
            assert_waits(&mut session);
            if n > 1 {
                session.cancel(op);
            }
        };
        (0..1000).for_each(&mut redirected);
        assert_few_jobs_wait(&session);
        assert!(matches!(session.lanes.queued()[..], [Job::Task(_), ..]));
    }

    #[test]
    fn operations_that_end_while_their_token_server_is_busy_leave_nothing_behind() {
        let mut session = session();
        for n in 0..1000 {
            let op = resolve(&mut session, "registry.example", n);
            let exchange = sent(&mut session);
            let challenge = r#"Bearer realm="https://auth.example/token""#;
            refuse(&mut session, exchange, 401, (WWW_AUTHENTICATE, challenge));
            let Output::Ask(query, Question::Credentials(_)) = session.poll_output(Time::ZERO) else {
                panic!("no question")
            };
            session.answer(Time::ZERO, query, Answer::Credentials(None));
            if n == 0 {
                let _busy = sent(&mut session);
            }
            assert_waits(&mut session);
            if n > 1 {
                session.cancel(op);
            }
        }
        assert_few_jobs_wait(&session);
        assert!(matches!(session.lanes.queued()[..], [Job::Task(_), ..]));
    }
}

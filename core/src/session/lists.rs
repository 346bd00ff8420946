//! Bookkeeping: how operations and tasks enter and leave the queues and maps of a session.

use std::mem;

use crate::error::Error;
use crate::op::event::Event;
use crate::session::lanes::Job;
use crate::session::state::Session;
use crate::session::task::{Half, Task, TaskState};
use crate::types::id::{ExchangeId, OpId, TaskId};

impl Session {
    /// Marks the operation as ready: it may have an output or a fetch.
    pub(super) fn wake(&mut self, op: OpId) {
        let Some(running) = self.ops.get_mut(&op) else { return };
        if !mem::replace(&mut running.is_ready, true) {
            self.ready.push_back(op);
        }
        for target in running.op.targets() {
            if !running.queued.contains(&target.origin) {
                running.queued.push(target.origin.clone());
                self.lanes.push(&target.origin, Job::Op(op));
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
        self.targets -= running.targets;
        if let Some(at) = running.deadline {
            self.deadlines.remove(&(at, op));
        }
        for query in running.asked {
            self.asked.remove(&query);
        }
        let is_alive = |job| match job {
            Job::Op(op) => self.ops.contains_key(&op),
            Job::Task(task) => self.tasks.contains_key(&task),
            Job::Pair(first, second) => [first, second].iter().any(|half| self.tasks.contains_key(half)),
        };
        for origin in &running.queued {
            self.lanes.forget(origin, is_alive);
            self.lanes.tidy(origin, self.now);
        }
    }

    /// Queues a task in the lane of its origin.
    pub(super) fn queue(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let origin = task.origin.clone();
        match &task.half {
            Some(Half { other, admitted: false, .. }) => {
                let other = *other;
                task.state = TaskState::Paired;
                if self.tasks.get(&other).is_some_and(|other| matches!(other.state, TaskState::Paired)) {
                    self.lanes.push(&origin, Job::Pair(id, other));
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

    /// Returns whether both tasks exist, and each is the other's half.
    pub(super) fn is_pair(&self, first: TaskId, second: TaskId) -> bool {
        let other_of = |id| self.tasks.get(&id).and_then(|task| task.half.as_ref()).map(|half| half.other);
        other_of(first) == Some(second) && other_of(second) == Some(first)
    }

    /// Returns whether all counted requests in flight are halves that wait for their other half to be sent.
    pub(super) fn only_halves_wait(&self, counts: impl Fn(&Task) -> bool) -> bool {
        let is_out = |task: &Task| matches!(task.state, TaskState::InFlight(_));
        let waits = |task: &Task| {
            let other = task.half.as_ref().and_then(|half| self.tasks.get(&half.other));
            other.is_some_and(|other| !is_out(other))
        };
        self.in_flight.values().filter_map(|id| self.tasks.get(id)).filter(|task| counts(task)).all(waits)
    }

    /// Stops all tasks of the operation.
    pub(super) fn stop_tasks(&mut self, op: OpId) {
        let Some(running) = self.ops.get_mut(&op) else { return };
        for id in mem::take(&mut running.tasks) {
            self.stop(id);
        }
    }

    /// Stops a task, and aborts its exchange.
    pub(super) fn stop(&mut self, id: TaskId) {
        let Some(task) = self.remove_task(id) else { return };
        match task.state {
            TaskState::InFlight(exchange) => {
                self.in_flight.remove(&exchange);
                self.lanes.ended(&task.origin, self.now);
                let unsent = self.outbox.iter().position(|unsent| unsent.id() == exchange);
                match unsent {
                    Some(at) => drop(self.outbox.remove(at)),
                    None => self.aborts.push_back(exchange),
                }
            }
            TaskState::Asleep(until) => _ = self.timers.remove(&(until, id)),
            TaskState::Queued | TaskState::Parked | TaskState::Waiting | TaskState::Paired => {}
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
                self.lanes.unreserve(origin);
            }
            if let Some(left) = self.tasks.get_mut(other) {
                // The remaining half becomes an ordinary task.
                if let Some(origin) = left.half.take().and_then(|half| half.slot) {
                    self.lanes.unreserve(&origin);
                }
                if matches!(left.state, TaskState::Paired) {
                    self.queue(*other);
                }
            }
        }
        Some(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::session::output::Output;
    use crate::types::time::Time;

    #[test]
    fn operations_that_end_while_their_registry_is_busy_leave_nothing_behind() {
        let mut config = Config::default();
        config.limits.in_flight_per_origin = 1;
        let mut session = Session::new(config, 0);
        let reference = "registry.example/team/app:1".parse().unwrap();
        let _busy = session.resolve(&reference, None);
        assert!(matches!(session.poll_output(Time::ZERO), Output::Send(_)));
        let waiting = session.resolve(&reference, None);
        for _ in 0..1000 {
            let op = session.resolve(&reference, None);
            assert!(matches!(session.poll_output(Time::ZERO), Output::Wait(None)));
            session.cancel(op);
        }
        let queued = session.lanes.queued();
        assert!(queued.len() < 10, "{} jobs wait", queued.len());
        assert!(queued.contains(&Job::Op(waiting)));
    }
}

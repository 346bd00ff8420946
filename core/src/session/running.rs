//! The operations that are alive: what each says and wants next, and how one ends.

use std::collections::{BTreeSet, VecDeque};

use crate::error::{Error, LimitExceeded};
use crate::header::warning::Warning;
use crate::op::Op;
use crate::op::event::Event;
use crate::session::Session;
use crate::session::lanes::Job;
use crate::session::task::TaskState;
use crate::types::id::{OpId, TaskId};
use crate::types::reference::name::Repository;
use crate::types::reference::registry::Registry;
use crate::types::time::Time;
use crate::wire::exchange::Exchange;
use crate::wire::origin::{Base, Origin};

/// An operation, and how the session stands to it.
pub(super) struct Running {
    pub(super) op: Op,
    pub(super) registry: Registry,
    pub(super) base: Base,
    pub(super) origin: Origin,
    pub(super) repository: Repository,
    pub(super) tasks: BTreeSet<TaskId>,
    /// Events that are not the operation's own.
    pub(super) notices: VecDeque<Event>,
    pub(super) warned: BTreeSet<Warning>,
    pub(super) paused: bool,
    pub(super) deadline: Option<Time>,
    /// Why the session ended it.
    pub(super) ended: Option<Error>,
    /// Whether it is in `ready`.
    pub(super) is_ready: bool,
    /// Whether it is in its lane's queue.
    pub(super) is_queued: bool,
}

impl Session {
    /// The operation may have an event, or something to fetch.
    pub(super) fn wake(&mut self, op: OpId) {
        let Some(running) = self.ops.get_mut(&op) else { return };
        if !std::mem::replace(&mut running.is_ready, true) {
            self.ready.push_back(op);
        }
        if !std::mem::replace(&mut running.is_queued, true) {
            self.lanes.push(&running.origin, Job::Op(op));
        }
    }

    pub(super) fn notice(&mut self, op: OpId, event: Event) {
        if let Some(running) = self.ops.get_mut(&op) {
            running.notices.push_back(event);
            self.wake(op);
        }
    }

    pub(super) fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
        while let Some((at, id)) = self.timers.first().copied()
            && at <= self.now
        {
            self.timers.pop_first();
            self.queue(id);
        }
        while let Some((at, op)) = self.deadlines.first().copied()
            && at <= self.now
        {
            self.deadlines.pop_first();
            self.stop_tasks(op);
            if let Some(running) = self.ops.get_mut(&op) {
                running.deadline = None;
                running.ended = Some(Error::new(LimitExceeded::Deadline));
                self.wake(op);
            }
        }
    }

    pub(super) fn next_event(&mut self) -> Option<(OpId, Event)> {
        while let Some(id) = self.ready.front().copied() {
            let event = self.ops.get_mut(&id).filter(|running| !running.paused).and_then(|running| {
                let ended = |running: &mut Running| running.ended.take().map(Event::Failed);
                let notice = running.notices.pop_front();
                notice.or_else(|| ended(running)).or_else(|| running.op.next_event())
            });
            match event {
                Some(event @ (Event::Done | Event::Failed(_))) => {
                    self.ready.pop_front();
                    self.remove(id);
                    return Some((id, event));
                }
                Some(event) => {
                    // What was reported makes room for what is to be fetched.
                    self.wake(id);
                    return Some((id, event));
                }
                None => {
                    self.ready.pop_front();
                    if let Some(running) = self.ops.get_mut(&id) {
                        running.is_ready = false;
                    }
                }
            }
        }
        None
    }

    /// The next request to send, of the origins in turn, and of each origin's operations in turn.
    pub(super) fn next_exchange(&mut self) -> Option<Exchange> {
        loop {
            let open = self.lanes.open(&self.config.limits, self.now);
            if open.is_empty() {
                return None;
            }
            for origin in open {
                while let Some(job) = self.lanes.pop(&origin, self.now) {
                    if let Some(exchange) = self.start_job(job, &origin) {
                        return Some(exchange);
                    }
                    if self.auth.has_question() {
                        return None;
                    }
                }
            }
            // What was not sent may need a token first, from an origin that had nothing to do before.
        }
    }

    fn start_job(&mut self, job: Job, origin: &Origin) -> Option<Exchange> {
        match job {
            Job::Task(id) => {
                let task = self.tasks.get_mut(&id)?;
                let running = task.op().and_then(|op| self.ops.get(&op));
                if running.is_some_and(|running| running.paused) {
                    task.place = TaskState::Parked;
                    return None;
                }
                self.send(id)
            }
            Job::Op(id) => {
                let running = self.ops.get_mut(&id)?;
                let idle = running.paused || running.ended.is_some();
                let Some(fetch) = (if idle { None } else { running.op.next_fetch() }) else {
                    running.is_queued = false;
                    return None;
                };
                self.lanes.push(origin, Job::Op(id));
                let task = self.begin_fetch(id, fetch)?;
                if self.tasks.get(&task)?.origin == *origin {
                    return self.send(task);
                }
                // Another server has limits of its own.
                self.queue(task);
                None
            }
        }
    }

    /// Nobody waits for what the operation fetches any more.
    pub(super) fn stop_tasks(&mut self, op: OpId) {
        let Some(running) = self.ops.get_mut(&op) else { return };
        for id in std::mem::take(&mut running.tasks) {
            self.stop(id);
        }
    }

    fn stop(&mut self, id: TaskId) {
        let Some(task) = self.tasks.remove(&id) else { return };
        if let Some(fetch) = self.auth.release(id) {
            self.stop(fetch);
        }
        match task.place {
            TaskState::Out(exchange) => {
                self.out.remove(&exchange);
                self.lanes.ended(&task.origin, self.now);
                self.aborts.push_back(exchange);
            }
            TaskState::Asleep(until) => _ = self.timers.remove(&(until, id)),
            TaskState::Queued | TaskState::Parked | TaskState::Waiting => {}
        }
    }

    pub(super) fn remove(&mut self, op: OpId) {
        self.stop_tasks(op);
        if let Some(at) = self.ops.remove(&op).and_then(|running| running.deadline) {
            self.deadlines.remove(&(at, op));
        }
    }
}

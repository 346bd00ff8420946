//! The methods that a driver calls: polling, completions, answers, and the control of operations.

use std::collections::BTreeSet;
use std::mem;

use crate::error::Error;
use crate::error::fault::{Fault, FaultKind};
use crate::op::ask::Held;
use crate::session::call::Call;
use crate::session::output::{Answer, Output, Question};
use crate::session::state::Session;
use crate::session::task::TaskState;
use crate::types::id::{ExchangeId, OpId, QueryId, TaskId};
use crate::types::time::Time;
use crate::wire::exchange::completion::Completion;

impl Session {
    /// Returns the next output. Call it until it returns [`Output::Wait`].
    ///
    /// Time never moves backwards: a `now` earlier than a previous one is replaced by that one.
    pub fn poll_output(&mut self, now: Time) -> Output {
        let mut output = self.poll(now);
        self.note(Call::Poll(now, &mut output));
        output
    }

    fn poll(&mut self, now: Time) -> Output {
        self.advance(now);
        loop {
            if let Some(exchange) = self.aborts.pop_front() {
                return Output::Abort(exchange);
            }
            if let Some(output) = self.next_output() {
                return output;
            }
            if let Some(exchange) = self.outbox.pop_front() {
                return Output::Send(exchange);
            }
            if !self.auth.has_question()
                && let Some(exchange) = self.next_exchange()
            {
                return Output::Send(exchange);
            }
            // Preparing a request may have raised a question, or ended an operation.
            if let Some((query, asked)) = self.auth.next_question() {
                return Output::Ask(query, Question::Credentials(asked));
            }
            if self.ready.is_empty() {
                break;
            }
        }
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let timer = self.timers.first().map(|(at, _)| *at);
        Output::Wait([deadline, timer, self.lanes.opens_at(self.now)].into_iter().flatten().min())
    }

    /// Handles the completion of an exchange. Ignores one that the session is not waiting for.
    pub fn complete(&mut self, now: Time, mut completion: Completion) {
        if !self.accepts(Call::Complete(now, &mut completion)) {
            return;
        }
        self.advance(now);
        if let Some(task) = self.end_exchange(completion.id) {
            self.settle(task, completion);
        }
    }

    /// Handles the loss of an exchange that cannot be completed, because the task or the pool that carried
    /// it out is gone. The exchange counts as [failed](crate::Awaiting::fail) with this fault. The bytes that
    /// its sink has received are requested again; see [`Sink::offset`](crate::Sink::offset).
    pub fn lost(&mut self, now: Time, exchange: ExchangeId, fault: Fault) {
        if !self.accepts(Call::Lost(now, exchange, &fault)) {
            return;
        }
        self.advance(now);
        if let Some(task) = self.end_exchange(exchange) {
            self.lost_attempt(task, fault);
        }
    }

    /// Forgets all exchanges in flight, and sends each request again. For a session whose driver was
    /// replaced, when no exchange of the old one is still running. Unanswered questions are asked again. An
    /// upload whose bytes may have arrived first asks the registry for its position.
    ///
    /// The bytes that a sink has received from an abandoned exchange are requested again, as after
    /// [`lost`](Self::lost).
    pub fn abandon_in_flight(&mut self, now: Time) {
        self.note(Call::Abandon(now));
        self.advance(now);
        let abandoned: Vec<TaskId> = mem::take(&mut self.in_flight).into_values().collect();
        self.outbox.clear();
        for id in &abandoned {
            self.release_slot(*id);
            self.queue(*id);
        }
        for id in abandoned {
            self.abandoned_attempt(id);
        }
        let asking: BTreeSet<OpId> = self.asked.values().filter_map(Question::op).collect();
        for op in asking {
            if let Some(running) = self.ops.get_mut(&op) {
                running.to_ask.clone_from(&running.asked);
            }
            self.wake(op);
        }
        self.auth.ask_again();
    }

    /// Handles the answer to [`Output::Ask`]. Ignores one that the session is not waiting for. An answer of
    /// the wrong variant fails the operations that wait for it.
    pub fn answer(&mut self, now: Time, query: QueryId, answer: Answer) {
        if !self.accepts(Call::Answer(now, query, &answer)) {
            return;
        }
        self.advance(now);
        let unfit = || Fault::new(FaultKind::Unsupported, "the answer does not fit the question");
        let Some(question) = self.asked.remove(&query) else {
            let found = match answer {
                Answer::Credentials(found) => Ok(found),
                Answer::Failed(fault) => Err(fault),
                Answer::Held(_)
                | Answer::Stored
                | Answer::Document(_)
                | Answer::Referrers(_)
                | Answer::Read { .. } => Err(unfit()),
            };
            for (id, outcome) in self.auth.answered(query, found) {
                match outcome {
                    Ok(()) => self.queue(id),
                    Err(cause) => self.fail_task(id, cause),
                }
            }
            return;
        };
        let Some(op) = question.op() else { return };
        let Some(running) = self.ops.get_mut(&op) else { return };
        running.asked.remove(&query);
        running.to_ask.remove(&query);
        match (&question, answer) {
            // An assumed hasher did not hash the part: outside a replay it proves nothing.
            (Question::Held { descriptor, .. }, Answer::Held(Held::Part { hasher, .. }))
                if hasher.is_assumed() && !self.is_replay =>
            {
                running.op.held(descriptor, Held::Nothing);
            }
            (Question::Held { descriptor, .. }, Answer::Held(held)) => running.op.held(descriptor, held),
            (Question::Store { descriptor, .. }, Answer::Stored) => running.op.stored(&descriptor.digest),
            (Question::Document { descriptor, .. }, Answer::Document(bytes)) => {
                running.op.document(descriptor, bytes);
            }
            (Question::Referrers { subject, .. }, Answer::Referrers(referrers)) => {
                running.op.referrers(subject, referrers);
            }
            (Question::Read { max, .. }, Answer::Read { bytes, is_last })
                if bytes.len() <= *max && (is_last || !bytes.is_empty()) =>
            {
                running.op.read(bytes, is_last);
            }
            (_, Answer::Failed(fault)) => return self.end_operation(op, Error::new(fault)),
            _ => return self.end_operation(op, Error::new(unfit())),
        }
        self.wake(op);
    }

    /// Fails the operation unless it ends before `at`. Replaces an earlier deadline.
    pub fn set_deadline(&mut self, op: OpId, at: Time) {
        if !self.accepts(Call::Deadline(op, at)) {
            return;
        }
        let Some(running) = self.ops.get_mut(&op) else { return };
        if let Some(earlier) = running.deadline.replace(at) {
            self.deadlines.remove(&(earlier, op));
        }
        self.deadlines.insert((at, op));
    }

    /// Fails the operation, for a driver whose sink or store is broken. The operation's last event is
    /// [`Event::Failed`](crate::Event::Failed) with this fault.
    pub fn fail(&mut self, op: OpId, fault: Fault) {
        if !self.accepts(Call::Fail(op, &fault)) {
            return;
        }
        self.end_operation(op, Error::new(fault));
    }

    /// Ends the operation without an event.
    pub fn cancel(&mut self, op: OpId) {
        if !self.accepts(Call::Cancel(op)) {
            return;
        }
        self.remove(op);
    }

    /// Stops the operation's events, questions and new requests until [`resume`](Self::resume), for a
    /// driver whose caller is slow. The operation's exchanges in flight continue, and its deadline still
    /// applies. If an exchange in flight depends on another one, that is sent again if it fails.
    pub fn pause(&mut self, op: OpId) {
        if !self.accepts(Call::Pause(op)) {
            return;
        }
        if let Some(running) = self.ops.get_mut(&op) {
            running.paused = true;
        }
    }

    /// Resumes an operation after [`pause`](Self::pause).
    pub fn resume(&mut self, op: OpId) {
        if !self.accepts(Call::Resume(op)) {
            return;
        }
        let Some(running) = self.ops.get_mut(&op) else { return };
        running.paused = false;
        let is_parked =
            |id: &TaskId| self.tasks.get(id).is_some_and(|task| matches!(task.state, TaskState::Parked));
        let parked: Vec<TaskId> = running.tasks.iter().copied().filter(is_parked).collect();
        for id in parked {
            self.queue(id);
        }
        self.wake(op);
    }
}

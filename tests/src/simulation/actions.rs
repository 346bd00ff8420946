//! The actions of a driver other than performing requests.

use std::time::Duration;

use oci_proto::{
    Algorithm, Answer, Credentials, Descriptor, Fault, FaultKind, Hasher, Held, Kind, OpId, Question, Time,
};

use crate::simulation::answers::Answers;
use crate::simulation::state::Simulation;
use crate::simulation::watched::Watched;

impl<A: Answers> Simulation<'_, A> {
    pub(super) fn act_arbitrarily(&mut self) {
        if self.behaviour.ends && self.choices.below(4) == 3 {
            self.end_something();
        } else if self.behaviour.interrupts {
            self.interrupt();
        }
    }

    fn interrupt(&mut self) {
        match self.choices.below(6) {
            0 => {
                let op = self.some_op();
                self.did("pauses", op);
                self.session.pause(op);
                if let Some(watched) = self.ops.get_mut(&op) {
                    watched.is_paused = !watched.is_over;
                }
            }
            1 | 2 => {
                let op = self.some_op();
                self.did("resumes", op);
                self.resume(op);
            }
            3 => {
                self.count("dropped drivers");
                self.trace.note(self.now, || "* the driver is dropped and replaced".to_owned());
                for transfer in &self.out {
                    if let Some(watched) = transfer.op.and_then(|op| self.ops.get_mut(&op)) {
                        watched.dropped(transfer.name());
                    }
                }
                for transfer in &mut self.out {
                    if transfer.has_payload() || transfer.is_half {
                        self.answers.failed(&transfer.asked(self.now), FaultKind::Reset);
                    }
                    transfer.cut_off(self.now, &mut self.answers);
                }
                self.pipes.close_all();
                self.stale.append(&mut self.out);
                self.forgotten.extend(self.owed.drain(..).map(|(_, query, question)| (query, question.op())));
                self.session.abandon_in_flight(self.now);
            }
            4 => {
                // Late completions, or those with an earlier time, have no effect.
                if let Some(stale) = self.stale.pop() {
                    self.count("late completions");
                    self.trace.note(self.now, || format!("* {:?} ends, too late", stale.id));
                    self.session.lost(Time::ZERO, stale.id, Fault::new(FaultKind::Tls, "too late"));
                    self.session.complete(Time::ZERO, stale.end());
                }
                if let Some(query) = self.answered.pop() {
                    self.count("late answers");
                    let answer = self.any_answer();
                    self.session.answer(Time::ZERO, query, answer);
                }
            }
            _ => self.now = self.now + Duration::from_millis(self.choices.below(256) as u64),
        }
    }

    fn end_something(&mut self) {
        match self.choices.below(8) {
            0 | 1 => {
                let op = self.some_op();
                self.did("cancels", op);
                self.session.cancel(op);
                if let Some(watched) = self.ops.get_mut(&op) {
                    (watched.is_over, watched.is_paused) = (true, false);
                }
                self.forget(op);
            }
            2 | 3 => {
                let op = self.some_op();
                let at = Duration::from_millis(self.choices.below(256) as u64 * 8);
                self.did("sets deadlines", op);
                self.session.set_deadline(op, self.now + at);
                if let Some(watched) = self.ops.get_mut(&op) {
                    watched.may_fail();
                }
            }
            4 => {
                let op = self.some_op();
                self.did("fails", op);
                self.session.fail(op, Fault::new(FaultKind::Storage, "from the input"));
                self.watched(op).must_fail();
            }
            _ if !self.out.is_empty() => {
                let index = self.choices.below(self.out.len());
                let kind = self.choices.pick(&[
                    FaultKind::Reset,
                    FaultKind::Connect,
                    FaultKind::Timeout,
                    FaultKind::Tls,
                    FaultKind::Storage,
                    FaultKind::NotSent,
                    FaultKind::Unsupported,
                ]);
                let mut transfer = self.out.remove(index);
                // A driver knows whether it has sent something.
                let kind = if transfer.has_moved() { FaultKind::Reset } else { kind };
                self.answers.failed(&transfer.asked(self.now), kind);
                transfer.cut_off(self.now, &mut self.answers);
                self.pipes.close(transfer.id);
                let fault = Fault::new(kind, "from the input");
                if self.choices.flip() {
                    self.count("lost exchanges");
                    self.trace.note(self.now, || format!("* {:?} is lost: {kind:?}", transfer.id));
                    if let Some(watched) = transfer.op.and_then(|op| self.ops.get_mut(&op)) {
                        watched.lost(transfer.name());
                    }
                    self.session.lost(self.now, transfer.id, fault);
                    self.stale.push(transfer);
                } else {
                    self.count("faults of the driver's own");
                    self.trace.note(self.now, || format!("* {:?} fails: {kind:?}", transfer.id));
                    self.session.complete(self.now, transfer.fail(fault));
                }
                (self.is_fresh, self.response) = (true, None);
            }
            _ => {}
        }
    }

    /// Answers a question.
    pub(super) fn reply(&mut self, index: usize) {
        let (_, query, question) = self.owed.remove(index);
        let answer = if self.behaviour.ends && self.choices.once_in(24) {
            self.fail_to_reply(&question)
        } else {
            match &question {
                Question::Credentials(asked) => match self.answers.login(asked, &mut self.choices) {
                    Ok(found) => Answer::Credentials(found),
                    Err(fault) => Answer::Failed(fault),
                },
                Question::Held { op, descriptor } => Answer::Held(self.held(*op, descriptor)),
                Question::Store { op, descriptor, .. } => {
                    self.watched(*op).stored(&descriptor.digest);
                    Answer::Stored
                }
                Question::Document { descriptor, .. } => match self.answers.source(&descriptor.digest) {
                    Some(bytes) => Answer::Document(bytes),
                    None => Answer::Failed(Fault::new(FaultKind::Storage, "the document is not there")),
                },
                Question::Referrers { subject, .. } => {
                    Answer::Referrers(self.answers.referrers(&subject.digest))
                }
                Question::Read { op, max } => {
                    let (bytes, is_last) = self.answers.stream(*op, *max, &mut self.choices);
                    Answer::Read { bytes, is_last }
                }
            }
        };
        self.trace.note(self.now, || format!("  {query:?}: {answer:?}"));
        self.session.answer(self.now, query, answer);
        // Only the first of two answers counts.
        if self.choices.once_in(8) {
            self.count("repeated answers");
            let answer = self.any_answer();
            self.session.answer(self.now, query, answer);
        }
        self.answered.push(query);
    }

    /// No answer, or an answer to another question.
    fn fail_to_reply(&mut self, question: &Question) -> Answer {
        match question {
            Question::Credentials(asked) => self.answers.no_login(asked),
            Question::Held { op, .. }
            | Question::Store { op, .. }
            | Question::Document { op, .. }
            | Question::Referrers { op, .. }
            | Question::Read { op, .. } => self.watched(*op).must_fail(),
        }
        self.count("unanswered questions");
        match (question, self.choices.below(4)) {
            (Question::Held { .. } | Question::Referrers { .. } | Question::Credentials(_), 0) => {
                Answer::Stored
            }
            (Question::Store { .. } | Question::Credentials(_), 1) => Answer::Held(Held::Whole),
            (Question::Store { .. }, 3) => Answer::Referrers(Vec::new()),
            (Question::Held { .. } | Question::Store { .. }, 2) => Answer::Credentials(None),
            (Question::Credentials(_), _) => {
                Answer::Failed(Fault::new(FaultKind::Credentials, "from the input"))
            }
            _ => Answer::Failed(Fault::new(FaultKind::Storage, "from the input")),
        }
    }

    /// An answer without an open question.
    fn any_answer(&mut self) -> Answer {
        match self.choices.below(4) {
            0 => Answer::Stored,
            1 => Answer::Held(Held::Part { offset: 1, hasher: Hasher::new(Algorithm::Sha256) }),
            2 => Answer::Credentials(Some(Credentials::Bearer("late".into()))),
            _ => Answer::Failed(Fault::new(FaultKind::Storage, "late")),
        }
    }

    /// Content held from an earlier pull.
    fn held(&mut self, op: OpId, wanted: &Descriptor) -> Held {
        let digest = &wanted.digest;
        let right = self.answers.content(digest).filter(|right| right.len() as u64 == wanted.size);
        let (right, algorithm) = match (right, digest.algorithm()) {
            (Some(right), Some(algorithm)) if self.choices.once_in(4) => (right, algorithm),
            _ => return Held::Nothing,
        };
        if wanted.media_type.kind() != Kind::Other {
            self.count("held documents");
            self.watched(op).hold(digest, true);
            return Held::Document(right);
        }
        let offset = match self.choices.below(3) {
            0 => {
                self.count("held blobs");
                self.watched(op).hold(digest, false);
                return Held::Whole;
            }
            _ => self.choices.below(256).min(right.len()),
        };
        let mut part = right[..offset].to_vec();
        // The file may have been written to.
        if self.choices.once_in(3)
            && let Some(last) = part.last_mut()
        {
            *last ^= 1;
        }
        self.count("held parts");
        let mut hasher = Hasher::new(algorithm);
        hasher.update(&part);
        self.watched(op).begin(digest, part);
        Held::Part { offset: offset as u64, hasher }
    }

    fn watched(&mut self, op: OpId) -> &mut Watched {
        self.ops.get_mut(&op).expect("the operation was started")
    }

    fn some_op(&mut self) -> OpId {
        let index = self.choices.below(self.ops.len());
        *self.ops.keys().nth(index).expect("the index is below the length")
    }

    fn did(&mut self, what: &'static str, op: OpId) {
        self.count(what);
        self.trace.note(self.now, || format!("* the driver {what} {op:?}"));
    }
}

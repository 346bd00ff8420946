//! What a driver may do besides carrying requests out.

use std::time::Duration;

use oci_proto::{Algorithm, Credentials, Fault, FaultKind, Hasher, Held, Kind, OpId, Time};

use super::{Answers, Simulation};

impl<A: Answers> Simulation<'_, A> {
    pub(super) fn indulge(&mut self) {
        if self.manners.ends && self.choices.below(4) == 3 {
            self.end_something();
        } else if self.manners.interrupts {
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
                self.trace.note(self.now, || "* the driver is dropped, and another one goes on".to_owned());
                for carried in &self.out {
                    if let Some(watched) = carried.op.and_then(|op| self.ops.get_mut(&op)) {
                        watched.dropped(carried.name());
                    }
                }
                self.stale.append(&mut self.out);
                self.answered.extend(self.owed.drain(..).map(|(_, query, _)| query));
                self.session.abandon_in_flight(self.now);
            }
            4 => {
                // What comes late, or with a time that has passed, changes nothing.
                if let Some(stale) = self.stale.pop() {
                    self.count("late completions");
                    self.trace.note(self.now, || format!("* {:?} ends, too late", stale.id));
                    self.session.complete(Time::ZERO, stale.end());
                }
                if let Some(query) = self.answered.pop()
                    && !self.owed.iter().any(|(_, owed, _)| *owed == query)
                {
                    self.count("late logins");
                    self.session.credentials(Time::ZERO, query, Ok(Some(Credentials::Bearer("late".into()))));
                }
            }
            _ => self.now = self.now + Duration::from_millis(self.choices.below(256) as u64),
        }
    }

    fn end_something(&mut self) {
        match self.choices.below(4) {
            0 => {
                let op = self.some_op();
                self.did("cancels", op);
                self.session.cancel(op);
                if let Some(watched) = self.ops.get_mut(&op) {
                    (watched.is_over, watched.is_paused) = (true, false);
                }
                self.wanted.retain(|(_, other, _)| *other != op);
            }
            1 => {
                let op = self.some_op();
                let at = Duration::from_millis(self.choices.below(256) as u64 * 8);
                self.did("sets deadlines", op);
                self.session.set_deadline(op, self.now + at);
                if let Some(watched) = self.ops.get_mut(&op) {
                    watched.has_deadline = true;
                }
            }
            _ if !self.out.is_empty() => {
                let index = self.choices.below(self.out.len());
                let kind = self.choices.pick(&[
                    FaultKind::Reset,
                    FaultKind::Connect,
                    FaultKind::Timeout,
                    FaultKind::Tls,
                    FaultKind::Sink,
                ]);
                let carried = self.out.remove(index);
                self.count("faults of the driver's own");
                self.trace.note(self.now, || format!("* {:?} fails: {kind:?}", carried.id));
                self.answers.failed(&carried.asked(self.now), kind);
                self.session.complete(self.now, carried.fail(Fault::new(kind, "as it was drawn")));
                (self.is_fresh, self.wait) = (true, None);
            }
            _ => {}
        }
    }

    /// Says what an earlier pull has left of what this one wants.
    pub(super) fn say_what_is_held(&mut self, index: usize) {
        let (_, op, wanted) = self.wanted.remove(index);
        let digest = &wanted.digest;
        let right = self.answers.content(digest).filter(|right| right.len() as u64 == wanted.size);
        let (right, algorithm) = match (right, digest.algorithm()) {
            (Some(right), Some(algorithm)) if self.choices.once_in(4) => (right, algorithm),
            _ => return self.hold(op, digest, Held::Nothing),
        };
        if wanted.media_type.kind() != Kind::Other {
            self.count("documents held");
            self.watched(op).hold(digest, true);
            return self.hold(op, digest, Held::Document(right));
        }
        let offset = match self.choices.below(3) {
            0 => {
                self.count("blobs held");
                self.watched(op).hold(digest, false);
                return self.hold(op, digest, Held::Whole);
            }
            _ => self.choices.below(256).min(right.len()),
        };
        let mut part = right[..offset].to_vec();
        // Somebody may have written there.
        if self.choices.once_in(3)
            && let Some(last) = part.last_mut()
        {
            *last ^= 1;
        }
        self.count("parts held");
        let mut hasher = Hasher::new(algorithm);
        hasher.update(&part);
        self.watched(op).begin(digest, part);
        self.hold(op, digest, Held::Part { offset: offset as u64, hasher });
    }

    fn hold(&mut self, op: OpId, digest: &oci_proto::Digest, held: Held) {
        self.trace.note(self.now, || {
            let text = match &held {
                Held::Nothing => "nothing".to_owned(),
                Held::Document(_) => "the document".to_owned(),
                Held::Whole => "all".to_owned(),
                Held::Part { offset, .. } => format!("{offset} bytes"),
            };
            format!("  held {op:?} {digest} {text}")
        });
        self.session.held(op, digest, held);
        // An answer that comes twice counts once.
        if self.choices.once_in(8) {
            let hasher = Hasher::new(Algorithm::Sha256);
            self.session.held(op, digest, Held::Part { offset: 1, hasher });
        }
    }

    fn watched(&mut self, op: OpId) -> &mut super::Watched {
        self.ops.get_mut(&op).expect("an operation that was started")
    }

    fn some_op(&mut self) -> OpId {
        let index = self.choices.below(self.ops.len());
        *self.ops.keys().nth(index).expect("an index below the length")
    }

    fn did(&mut self, what: &'static str, op: OpId) {
        self.count(what);
        self.trace.note(self.now, || format!("* the driver {what} {op:?}"));
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

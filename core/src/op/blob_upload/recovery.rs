//! The position of an upload, and its recovery: what follows a refusal, a failure or an interruption.

use http::{StatusCode, Uri};

use crate::error::{Error, Misbehaviour};
use crate::op::blob_upload::headers::{CHUNK_MIN_LENGTH, is_about_content, number, stored_bytes};
use crate::op::blob_upload::state::{BlobUpload, Content, MAX_ABANDONED, Step};
use crate::op::blob_upload::stream::Stream;
use crate::op::habits::Habits;
use crate::op::operation::{Failed, Reply};
use crate::wire::exchange::sending::Marks;
use crate::wire::origin;
use crate::wire::status::Class;

impl BlobUpload {
    pub(super) fn location(&self, reply: &Reply) -> Result<Option<Uri>, Error> {
        origin::upload_session(&reply.url, &reply.headers, &self.config.plain_hosts)
            .map_err(|misbehaviour| reply.misbehaved(misbehaviour))
    }

    /// Continues at the URL in a response, if it has one. Returns whether the upload goes on: an invalid URL fails it.
    pub(super) fn follow_location(&mut self, reply: &Reply) -> bool {
        match self.location(reply) {
            Ok(location) => self.session = location.or(self.session.take()),
            Err(error) => self.step = Step::Failed(error),
        }
        !matches!(self.step, Step::Failed(_))
    }

    /// Continues at a position that the registry has acknowledged.
    pub(super) fn progress_to(&mut self, offset: u64) {
        /// A connection that delivers this many bytes works.
        const ENOUGH: u64 = 64 << 10;
        let gained = offset.saturating_sub(self.best);
        let end = self.content().map_or(u64::MAX, |(_, size)| size);
        if gained >= ENOUGH.min(end.saturating_sub(self.best).div_ceil(2).max(1)) {
            (self.failed, self.best) = (0, offset);
        }
        self.offset = offset;
        if let Content::Stream(stream) = &mut self.content {
            stream.acknowledge(offset);
        }
        self.step = Step::Send;
    }

    /// Continues where the registry's status says.
    pub(super) fn resume_at(&mut self, reply: &Reply) {
        if !self.follow_location(reply) {
            return;
        }
        let problem = match stored_bytes(&reply.headers) {
            // `0-0` stands for no bytes too, since a range cannot be empty.
            Some(1) if self.is_possible(0) => return self.continue_at(0),
            Some(stored) if self.is_possible(stored) => return self.continue_at(stored),
            Some(stored) => format!("it says that {stored} bytes are stored, after {} were sent", self.sent),
            None => "it does not say how many bytes are stored".to_owned(),
        };
        let error = reply.misbehaved(Misbehaviour::Header { name: "Range", problem });
        self.begin_again(error, false);
    }

    /// Returns whether this many bytes can be stored: no more than were sent, and of a stream no fewer than were
    /// acknowledged.
    pub(super) fn is_possible(&self, stored: u64) -> bool {
        let start = match &self.content {
            Content::Known { .. } => 0,
            Content::Stream(stream) => stream.start,
        };
        (start..=self.sent).contains(&stored)
    }

    pub(super) fn continue_at(&mut self, offset: u64) {
        self.was_resumed = true;
        self.progress_to(offset);
    }

    pub(super) fn wrong_position(&mut self, reply: Reply) {
        if !self.follow_location(&reply) {
            return;
        }
        let stored = stored_bytes(&reply.headers);
        let has_moved = stored.is_some_and(|stored| stored != self.offset && stored != 1);
        let error = reply.into_error();
        if !self.fails_again(&error) {
            return;
        }
        match stored {
            Some(stored) if has_moved && self.is_possible(stored) => self.continue_at(stored),
            _ if self.failed > 1 => self.restart(error, false),
            _ => self.step = Step::Status,
        }
    }

    /// Sends the blob in chunks.
    pub(super) fn refused_whole(&mut self, reply: Reply, habits: &Habits) {
        let location = self.location(&reply).ok().flatten();
        let error = reply.into_error();
        let is_empty = self.content().is_some_and(|(_, size)| size == 0);
        if self.was_resumed && is_about_content(&error) {
            return self.begin_again(error, false);
        }
        // Without content there is no other form: the session is gone.
        if is_empty && error.status() == Some(StatusCode::NOT_FOUND) {
            return self.begin_again(error, true);
        }
        let habit = self.habit(habits);
        if is_empty || is_about_content(&error) || !self.form.refused_whole(&error, self.sent, habit) {
            return self.step = Step::Failed(error);
        }
        self.marks = Marks::default();
        if error.status() == Some(StatusCode::NOT_FOUND) {
            (self.session, self.step) = (None, Step::Begin);
        } else {
            self.session = location.or(self.session.take());
            self.step = Step::Send;
        }
        self.after = Some(Failed { error, count: 0 });
    }

    /// Sends smaller chunks.
    pub(super) fn too_large(&mut self, reply: Reply) {
        let error = reply.into_error();
        if !self.form.too_large(&error, self.sent - self.offset) {
            return self.step = Step::Failed(error);
        }
        self.after = Some(Failed { error, count: 0 });
        self.step = Step::Send;
    }

    /// Begins again in another form, if the refusal of a part of the content is about that: in larger chunks if
    /// the registry says that this one was too small, or whole if the rest of a whole was refused.
    pub(super) fn refused_chunk(&mut self, reply: Reply, habits: &mut Habits) {
        let min = number(&reply.headers, CHUNK_MIN_LENGTH);
        let error = reply.into_error();
        if let Some(grown) = self.form.too_small(&error, min, self.sent - self.offset, self.habit(habits)) {
            habits.note(&self.target.origin, |habit| habit.min_chunk = grown);
            self.after = Some(Failed { error: error.clone(), count: 0 });
            return self.restart(error, false);
        }
        let status = error.status().map(|status| status.as_u16());
        let is_about_form = !self.form.is_chunked() && matches!(status, Some(400 | 405 | 411 | 415 | 501));
        if self.was_resumed && (is_about_form || is_about_content(&error)) {
            return self.begin_again(error, false);
        }
        // The registry takes neither the whole nor chunks, and the first refusal says why.
        let is_unsupported = matches!(status, Some(405 | 415 | 501));
        let first = self.form.take_refusal().filter(|_| is_unsupported);
        self.step = Step::Failed(first.unwrap_or(error));
    }

    /// Handles a success before the payload was sent. The registry may have the content already, or have confused
    /// something.
    pub(super) fn answered_early(&mut self, reply: &Reply) {
        let error =
            reply.misbehaved(Misbehaviour::Early { sent: reply.sent, length: self.sent - self.offset });
        if reply.class == Class::Done {
            self.may_exist = true;
            self.begin_again(error, true);
        } else {
            self.interrupted(&error);
        }
    }

    /// Asks for the position after a request whose bytes may have arrived.
    pub(super) fn interrupted(&mut self, error: &Error) {
        self.may_exist = true;
        if self.fails_again(error) {
            self.step = Step::Status;
        }
    }

    /// Begins a new session after a failure. `is_gone` says whether the old one has ended.
    pub(super) fn begin_again(&mut self, error: Error, is_gone: bool) {
        if self.fails_again(&error) {
            self.restart(error, is_gone);
        }
    }

    pub(super) fn restart(&mut self, error: Error, is_gone: bool) {
        if let Content::Stream(Stream { start: acknowledged @ 1.., .. }) = self.content {
            self.step = Step::Failed(error.with_cause(Misbehaviour::StreamLost { acknowledged }));
            return;
        }
        if self.begun > self.config.max_attempts.saturating_mul(4) {
            return self.step = Step::Failed(error);
        }
        let old = self.session.take().filter(|_| !is_gone && self.abandoned.len() < MAX_ABANDONED);
        self.abandoned.extend(old);
        (self.offset, self.sent) = (0, 0);
        let is_known = matches!(self.content, Content::Known { .. });
        self.step = if self.may_exist && is_known { Step::Exists } else { Step::Begin };
        self.may_exist = false;
    }

    /// Counts a failure. Returns whether another attempt is left; otherwise the upload has failed.
    pub(super) fn fails_again(&mut self, error: &Error) -> bool {
        self.failed += 1;
        let is_delayed_too_long =
            error.retry_after().is_some_and(|delay| delay > self.config.retry_after_max);
        if self.failed >= self.config.max_attempts || is_delayed_too_long {
            self.step = Step::Failed(error.clone());
            return false;
        }
        self.after = Some(Failed { error: error.clone(), count: self.failed });
        true
    }
}

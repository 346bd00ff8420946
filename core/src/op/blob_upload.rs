//! The upload of one blob: the conversation with a repository's uploads, and its recovery.
//!
//! ```text
//!  Exists --404--> Mount --refused--> Begin --202--> Send <-----------+
//!    |               |                               |  |             |
//!    | 200           | 201                 Done <-201+  +-interrupted-> Status
//!    +---> Done <----+                                                |
//!                          Begin <--------- the session is gone ------+
//! ```
//!
//! A blob is sent whole first. If its registry refuses that, it is sent in chunks; what a registry was found
//! to accept is noted in its [`Habits`]. After a success, the position is what was sent: several registries
//! report another one. A range that the registry reports counts only after a failure.
//!
//! Source: distribution-spec, "Pushing blobs"; end-4a, end-5, end-6, end-11, end-13.

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http::header::{CONTENT_RANGE, CONTENT_TYPE};

use crate::error::{Error, Misbehaviour};
use crate::op::blob_upload::form::LARGEST;
use crate::op::blob_upload::headers::{CHUNK_MIN_LENGTH, chunk_range, number};
use crate::op::blob_upload::state::{BlobUpload, Content, Mount, Step};
use crate::op::blob_upload::stream::slice;
use crate::op::event::Stored;
use crate::op::habits::Habits;
use crate::op::operation::{Call, Recipient, Reply};
use crate::types::digest::Algorithm;
use crate::types::scope::Scope;
use crate::wire::endpoint::{Begin, Endpoint};
use crate::wire::exchange::sending::Marks;
use crate::wire::head::announced_digest;
use crate::wire::origin;
use crate::wire::request::{Payload, Source};
use crate::wire::status::{Class, RequestKind};

mod form;
mod headers;
mod recovery;
pub(crate) mod state;
mod stream;

const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");

impl BlobUpload {
    /// Returns the next request, or `None` while one is under way or bytes of a stream are needed.
    pub(crate) fn next_call(&mut self, habits: &Habits) -> Option<Call> {
        if self.is_waiting {
            return None;
        }
        let repository = self.target.repository.clone()?;
        let endpoint = |begin| Recipient::Endpoint(Endpoint::Uploads(repository.clone(), begin));
        let mut call = match &self.step {
            Step::Exists => {
                let Content::Known { digest, .. } = &self.content else { return None };
                let blob = Endpoint::Blob(repository.clone(), digest.clone());
                Call::new(RequestKind::HeadBlob, Recipient::Endpoint(blob))
            }
            Step::Mount(from) => {
                let Content::Known { digest, .. } = &self.content else { return None };
                let to = endpoint(Begin::Mount(digest.clone(), Some(from.clone())));
                let scope = Some(Scope::pull(from));
                Call { scope, ..Call::new(RequestKind::Mount, to) }
            }
            Step::Begin => {
                // Registries that do not know the parameter accept the request without it.
                let other = self.algorithm().filter(|algorithm| *algorithm != Algorithm::Sha256);
                Call::new(RequestKind::BeginUpload, endpoint(Begin::Session(other)))
            }
            Step::Send => self.send(habits)?,
            Step::Status => Call::new(RequestKind::UploadStatus, Recipient::Url(self.session.clone()?)),
            Step::Done(_) | Step::Failed(_) => return None,
        };
        call.after = self.after.take();
        self.is_waiting = true;
        Some(call)
    }

    /// Returns the next request if it is another attempt after a failure.
    pub(crate) fn next_attempt(&mut self, habits: &Habits) -> Option<Call> {
        if self.has_failed() { self.next_call(habits) } else { None }
    }

    /// Returns the number of bytes of the stream that are needed next, if any, once.
    pub(crate) fn wants(&mut self) -> Option<usize> {
        if self.is_waiting || !matches!(self.step, Step::Send) {
            return None;
        }
        let (least, most) = (*self.stream_chunk.start(), *self.stream_chunk.end());
        let Content::Stream(stream) = &mut self.content else { return None };
        if stream.is_asked || stream.has(least) {
            return None;
        }
        stream.is_asked = true;
        let missing = most.saturating_sub(stream.held.len() as u64);
        Some(usize::try_from(missing).unwrap_or(usize::MAX))
    }

    /// Takes the next bytes of the stream.
    pub(crate) fn read(&mut self, bytes: Bytes, is_last: bool) {
        let Content::Stream(stream) = &mut self.content else { return };
        if !stream.is_asked {
            return;
        }
        stream.hasher.update(&bytes);
        if stream.held.is_empty() {
            stream.held = bytes;
        } else {
            let mut held = BytesMut::from(std::mem::take(&mut stream.held));
            held.extend_from_slice(&bytes);
            stream.held = held.freeze();
        }
        (stream.has_ended, stream.is_asked) = (is_last, false);
    }

    /// Takes the outcome of the request.
    pub(crate) fn settle(&mut self, outcome: Result<Reply, Error>, habits: &mut Habits) {
        self.is_waiting = false;
        let reply = match outcome {
            Ok(reply) => reply,
            Err(error) => return self.call_failed(error),
        };
        self.marks.extend(reply.marks.clone());
        match (reply.kind, reply.class) {
            (RequestKind::HeadBlob, Class::Content) => {
                // After an upload whose response was lost, it is that upload which stored the blob.
                self.step = Step::Done(if self.begun > 0 { Stored::Sent } else { Stored::Existing });
            }
            // The registry's response to the upload decides.
            (RequestKind::HeadBlob, _) => self.not_found(),
            (RequestKind::Mount, Class::Done) => self.done(&reply, Stored::Mounted),
            (RequestKind::Mount | RequestKind::BeginUpload, Class::Session)
            // Without content there is nothing to store yet.
            | (RequestKind::BeginUpload, Class::Done) => self.begun(&reply, habits),
            (RequestKind::Mount, _) => self.mount_refused(),
            (RequestKind::UploadStatus, Class::Progress) => self.resume_at(&reply),
            (RequestKind::UploadStatus, class) => self.begin_again(reply.into_error(), class == Class::Gone),
            (_, Class::Done | Class::Accepted) if reply.sent < self.sent - self.offset => {
                self.answered_early(&reply);
            }
            (RequestKind::PutWhole | RequestKind::CloseUpload, Class::Done) => {
                self.form.accepted(&self.target.origin, habits);
                self.done(&reply, Stored::Sent);
            }
            (RequestKind::SendChunk, Class::Accepted) => self.accepted(&reply, habits),
            (RequestKind::PutWhole, Class::NotWhole) => self.refused_whole(reply, habits),
            (RequestKind::SendChunk | RequestKind::CloseUpload, Class::TooLarge) => self.too_large(reply),
            (RequestKind::SendChunk | RequestKind::CloseUpload, Class::WrongPosition) => {
                self.wrong_position(reply);
            }
            (RequestKind::SendChunk | RequestKind::CloseUpload, Class::Gone) => {
                self.begin_again(reply.into_error(), true);
            }
            (RequestKind::PutWhole | RequestKind::SendChunk | RequestKind::CloseUpload, Class::Trouble) => {
                self.interrupted(&reply.into_error());
            }
            (RequestKind::SendChunk | RequestKind::CloseUpload, Class::Final) => {
                self.refused_chunk(reply, habits);
            }
            _ => self.step = Step::Failed(reply.into_error()),
        }
        let habit = self.habit(habits);
        let least = habit.min_chunk.max(1);
        let most = self.form.limit(habit).unwrap_or(self.config.chunk_bytes.max(least));
        self.stream_chunk = least.min(most)..=most;
    }

    /// Handles the failure of the download that fed the request: nothing more was sent. The registry has some of the
    /// content, unless that is wrong.
    pub(crate) fn cut_off(&mut self, error: Error) {
        self.is_waiting = false;
        if error.cause().is_wrong_content() {
            self.marks = Marks::default();
            self.begin_again(error, false);
        } else {
            self.interrupted(&error);
        }
    }

    fn mount_refused(&mut self) {
        self.mount = Mount::Refused;
        self.step = Step::Begin;
    }

    fn not_found(&mut self) {
        // distribution says that it has mounted content of any digest, and then has only that of sha256.
        let is_canonical = self.algorithm() == Some(Algorithm::Sha256);
        self.step = match (&self.mount, self.begun) {
            (Mount::From(from), 0) if is_canonical => Step::Mount(from.clone()),
            _ => Step::Begin,
        };
    }

    /// Opens the session at the URL in a response.
    fn begun(&mut self, reply: &Reply, habits: &mut Habits) {
        self.begun += 1;
        match self.location(reply) {
            Err(error) => self.step = Step::Failed(error),
            Ok(None) => {
                let problem = "it is missing, so the upload cannot continue".to_owned();
                self.step =
                    Step::Failed(reply.misbehaved(Misbehaviour::Header { name: "Location", problem }));
            }
            Ok(Some(session)) => {
                if let Some(min) = number(&reply.headers, CHUNK_MIN_LENGTH) {
                    habits.note(&self.target.origin, |habit| habit.min_chunk = min.min(LARGEST));
                }
                (self.session, self.offset, self.sent, self.was_resumed) = (Some(session), 0, 0, false);
                self.step = Step::Send;
            }
        }
    }

    /// Builds the request that sends the next bytes.
    fn send(&mut self, habits: &Habits) -> Option<Call> {
        let session = self.session.clone()?;
        let habit = self.habit(habits);
        let limit = self.form.limit(habit);
        let (range, is_last, payload, prefix) = match &self.content {
            Content::Known { digest, size, bytes } => {
                let end = self.offset.saturating_add(limit.unwrap_or(u64::MAX)).min(*size);
                let range = self.offset..end;
                let is_last = end == *size;
                let mark = self.marks.before(range.start);
                let start = mark.map_or(0, |(at, _)| *at);
                let source =
                    Source { op: self.op, digest: digest.clone(), size: *size, start, range: range.clone() };
                let payload = match bytes {
                    _ if range.is_empty() => Payload::Empty,
                    Some(bytes) => Payload::Bytes(slice(bytes, 0, &range)),
                    None => Payload::Source(source),
                };
                (range, is_last, payload, mark.map(|(_, hasher)| hasher.clone()))
            }
            Content::Stream(stream) => {
                if !stream.has(*self.stream_chunk.start()) {
                    return None;
                }
                let limit = limit.unwrap_or(*self.stream_chunk.end());
                let end = self.offset.saturating_add(limit).min(stream.end());
                let held = stream.slice(&(self.offset..end));
                let payload = if held.is_empty() { Payload::Empty } else { Payload::Bytes(held) };
                (self.offset..end, stream.has_ended && end == stream.end(), payload, None)
            }
        };
        let is_whole = range.start == 0 && is_last && self.form.is_whole(habit);
        let kind = match (is_whole, is_last) {
            (true, _) => RequestKind::PutWhole,
            (false, true) => RequestKind::CloseUpload,
            (false, false) => RequestKind::SendChunk,
        };
        let url = match self.content().filter(|_| is_last) {
            None => session,
            Some((digest, _)) => origin::closing(&session, &digest),
        };
        self.sent = range.end;
        let completes = if is_last { range.end } else { 0 };
        let mut call = Call { payload, completes, prefix, ..Call::new(kind, Recipient::Url(url)) };
        call.headers.insert(CONTENT_TYPE, OCTET_STREAM);
        // Some registries take a whole blob with a range for a chunk, and refuse its size.
        if !is_whole && !range.is_empty() {
            call.headers.insert(CONTENT_RANGE, chunk_range(&range));
        }
        Some(call)
    }

    fn call_failed(&mut self, error: Error) {
        self.step = match &self.step {
            // The response to the upload explains why; it may even be accepted.
            Step::Exists if error.status().is_some() => return self.not_found(),
            Step::Mount(_) if error.status().is_some() => return self.mount_refused(),
            Step::Status if error.status().is_some() => return self.begin_again(error, false),
            _ => Step::Failed(error),
        };
    }

    /// Ends the upload, if the digest in the response agrees.
    fn done(&mut self, reply: &Reply, stored: Stored) {
        let expected = self.content().map(|(digest, _)| digest);
        let announced = match announced_digest(&reply.headers) {
            Ok(announced) => announced,
            Err(misbehaviour) => return self.step = Step::Failed(reply.misbehaved(misbehaviour)),
        };
        self.step = match (expected, announced) {
            // Registries announce the digest that they compute, which may be of another algorithm.
            (Some(expected), Some(computed))
                if expected.algorithm() == computed.algorithm() && expected != computed =>
            {
                Step::Failed(reply.misbehaved(Misbehaviour::WrongDigest { expected, computed }))
            }
            _ => Step::Done(stored),
        };
        self.session = None;
    }

    fn accepted(&mut self, reply: &Reply, habits: &mut Habits) {
        if self.follow_location(reply) {
            self.form.accepted(&self.target.origin, habits);
            self.progress_to(self.sent);
        }
    }
}

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

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode, Uri};

use crate::config::{Config, PlainHttp};
use crate::error::{Error, InvalidRequest, Misbehaviour};
use crate::op::blob_upload::form::{Form, LARGEST};
use crate::op::blob_upload::headers::{chunk_range, is_about_content, number, stored_bytes};
use crate::op::blob_upload::stream::{Stream, slice};
use crate::op::event::Stored;
use crate::op::habits::{Habit, Habits};
use crate::op::operation::{Call, Failed, Recipient, Reply};
use crate::types::descriptor::Descriptor;
use crate::types::digest::{Algorithm, Digest, Hasher};
use crate::types::id::OpId;
use crate::types::reference::name::Repository;
use crate::types::scope::Scope;
use crate::wire::endpoint::{Begin, Endpoint};
use crate::wire::exchange::sending::Marks;
use crate::wire::head::announced_digest;
use crate::wire::origin;
use crate::wire::request::{Payload, Source};
use crate::wire::status::{Class, RequestKind};
use crate::wire::target::Target;

mod form;
mod headers;
mod stream;

/// The upload of one blob.
#[derive(Debug)]
pub(crate) struct BlobUpload {
    op: OpId,
    target: Arc<Target>,
    content: Content,
    mount: Mount,
    step: Step,
    /// The newest URL of the upload session.
    session: Option<Uri>,
    /// Earlier sessions that may still be open.
    abandoned: Vec<Uri>,
    /// Whether the session's position is one that the registry reported after a failure.
    was_resumed: bool,
    /// The number of bytes that the session has.
    offset: u64,
    /// The end of the bytes that the last request sent.
    sent: u64,
    /// The largest number of bytes that a session had.
    best: u64,
    /// Hashers over the beginning of the content.
    marks: Marks,
    form: Form,
    /// The failure that the next request follows, for its report.
    after: Option<Failed>,
    /// The number of failures since the last progress.
    failed: u32,
    /// The number of sessions that were begun.
    begun: u32,
    /// Whether the registry may have the whole content, although it did not say so.
    may_exist: bool,
    /// Whether a request is under way.
    is_waiting: bool,
    /// The minimum and maximum numbers of bytes of a stream in a chunk that is not the last one.
    stream_chunk: RangeInclusive<u64>,
    config: UploadConfig,
}

/// The settings of an upload.
#[derive(Clone, Copy, Debug)]
struct UploadConfig {
    plain_http: PlainHttp,
    chunk_bytes: u64,
    max_attempts: u32,
    retry_after_max: Duration,
}

/// The content of an upload.
#[derive(Debug)]
enum Content {
    /// Content that the driver can read from any position, unless its bytes are here.
    Known { digest: Digest, size: u64, bytes: Option<Bytes> },
    /// Content that is read once.
    Stream(Stream),
}

/// Whether the blob can be mounted.
#[derive(Debug)]
enum Mount {
    Impossible,
    /// From this repository of the same registry.
    From(Repository),
    /// The registry has refused it.
    Refused,
}

#[derive(Debug)]
enum Step {
    Exists,
    Mount(Repository),
    Begin,
    Send,
    Status,
    Done(Stored),
    Failed(Error),
}

/// The number of abandoned sessions that are cancelled at the end. Others expire.
pub(crate) const MAX_ABANDONED: usize = 8;

const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");
const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");

impl BlobUpload {
    /// Creates the upload of content that the driver can read from any position. With `mount`, the content is
    /// first mounted from that repository of the same registry.
    pub(crate) fn known(
        op: OpId,
        target: Arc<Target>,
        descriptor: &Descriptor,
        mount: Option<Repository>,
        config: &Config,
    ) -> Self {
        let (digest, size, bytes) = (descriptor.digest.clone(), descriptor.size, descriptor.embedded());
        let step = match digest.algorithm() {
            Some(_) => Step::Exists,
            None => Step::Failed(Error::new(InvalidRequest::UnknownAlgorithm(digest.clone()))),
        };
        Self::new(op, target, Content::Known { digest, size, bytes }, mount, step, config)
    }

    /// Creates the upload of a stream, which is hashed while it is sent.
    pub(crate) fn stream(op: OpId, target: Arc<Target>, algorithm: Algorithm, config: &Config) -> Self {
        let stream = Stream {
            algorithm,
            hasher: Hasher::new(algorithm),
            start: 0,
            held: Bytes::new(),
            has_ended: false,
            is_asked: false,
        };
        Self::new(op, target, Content::Stream(stream), None, Step::Begin, config)
    }

    fn new(
        op: OpId,
        target: Arc<Target>,
        content: Content,
        mount: Option<Repository>,
        step: Step,
        config: &Config,
    ) -> Self {
        let config = UploadConfig {
            plain_http: config.plain_http,
            chunk_bytes: config.limits.chunk_bytes.max(1),
            max_attempts: config.limits.max_attempts.max(1),
            retry_after_max: config.limits.retry_after_max,
        };
        Self {
            op,
            target,
            content,
            mount: mount.map_or(Mount::Impossible, Mount::From),
            step,
            session: None,
            abandoned: Vec::new(),
            was_resumed: false,
            offset: 0,
            sent: 0,
            best: 0,
            marks: Marks::default(),
            form: Form::new(config.chunk_bytes),
            after: None,
            failed: 0,
            begun: 0,
            may_exist: false,
            is_waiting: false,
            stream_chunk: 1..=config.chunk_bytes,
            config,
        }
    }

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

    /// Returns whether the next request is another attempt after a failure.
    pub(crate) fn has_failed(&self) -> bool {
        self.after.is_some()
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

    /// Returns whether a request that sends content is under way.
    pub(crate) fn is_sending(&self) -> bool {
        self.is_waiting && matches!(self.step, Step::Send)
    }

    /// Returns how the upload ended, once it has.
    pub(crate) fn ended(&self) -> Option<Result<Stored, &Error>> {
        match &self.step {
            Step::Done(stored) => Some(Ok(*stored)),
            Step::Failed(error) => Some(Err(error)),
            _ => None,
        }
    }

    /// Returns the digest and the size of the content, once they are known.
    pub(crate) fn content(&self) -> Option<(Digest, u64)> {
        match &self.content {
            Content::Known { digest, size, .. } => Some((digest.clone(), *size)),
            Content::Stream(stream) if stream.has_ended => {
                Some((stream.hasher.clone().finish(), stream.end()))
            }
            Content::Stream(_) => None,
        }
    }

    /// Returns the number of bytes that the registry has acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        match (&self.step, self.content()) {
            (Step::Done(_), Some((_, size))) => size,
            _ => self.offset,
        }
    }

    /// Returns the URLs of the upload sessions that may be open.
    pub(crate) fn open_sessions(&self) -> impl Iterator<Item = &Uri> {
        self.abandoned.iter().chain(&self.session)
    }

    /// Returns whether the registry has refused to mount the blob.
    pub(crate) fn is_mount_refused(&self) -> bool {
        matches!(self.mount, Mount::Refused)
    }

    fn algorithm(&self) -> Option<Algorithm> {
        match &self.content {
            Content::Known { digest, .. } => digest.algorithm(),
            Content::Stream(stream) => Some(stream.algorithm),
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

    fn location(&self, reply: &Reply) -> Result<Option<Uri>, Error> {
        origin::upload_session(&reply.url, &reply.headers, self.config.plain_http)
            .map_err(|misbehaviour| reply.misbehaved(misbehaviour))
    }

    /// Continues at the URL in a response, if it has one. Returns whether the upload goes on: an invalid URL fails it.
    fn follow_location(&mut self, reply: &Reply) -> bool {
        match self.location(reply) {
            Ok(location) => self.session = location.or(self.session.take()),
            Err(error) => self.step = Step::Failed(error),
        }
        !matches!(self.step, Step::Failed(_))
    }

    fn habit(&self, habits: &Habits) -> Habit {
        habits.of(&self.target.origin)
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

    /// Continues at a position that the registry has acknowledged.
    fn progress_to(&mut self, offset: u64) {
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
    fn resume_at(&mut self, reply: &Reply) {
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
    fn is_possible(&self, stored: u64) -> bool {
        let start = match &self.content {
            Content::Known { .. } => 0,
            Content::Stream(stream) => stream.start,
        };
        (start..=self.sent).contains(&stored)
    }

    fn continue_at(&mut self, offset: u64) {
        self.was_resumed = true;
        self.progress_to(offset);
    }

    fn wrong_position(&mut self, reply: Reply) {
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
    fn refused_whole(&mut self, reply: Reply, habits: &Habits) {
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
    fn too_large(&mut self, reply: Reply) {
        let error = reply.into_error();
        if !self.form.too_large(&error, self.sent - self.offset) {
            return self.step = Step::Failed(error);
        }
        self.after = Some(Failed { error, count: 0 });
        self.step = Step::Send;
    }

    /// Begins again in another form, if the refusal of a part of the content is about that: in larger chunks if
    /// the registry says that this one was too small, or whole if the rest of a whole was refused.
    fn refused_chunk(&mut self, reply: Reply, habits: &mut Habits) {
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
    fn answered_early(&mut self, reply: &Reply) {
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
    fn interrupted(&mut self, error: &Error) {
        self.may_exist = true;
        if self.fails_again(error) {
            self.step = Step::Status;
        }
    }

    /// Begins a new session after a failure. `is_gone` says whether the old one has ended.
    fn begin_again(&mut self, error: Error, is_gone: bool) {
        if self.fails_again(&error) {
            self.restart(error, is_gone);
        }
    }

    fn restart(&mut self, error: Error, is_gone: bool) {
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
    fn fails_again(&mut self, error: &Error) -> bool {
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

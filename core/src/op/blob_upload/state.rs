//! The state of the upload of one blob.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;

use crate::config::{Config, PlainHosts};
use crate::error::{Error, InvalidRequest};
use crate::op::blob_upload::form::Form;
use crate::op::blob_upload::stream::Stream;
use crate::op::event::Stored;
use crate::op::habits::{Habit, Habits};
use crate::op::operation::Failed;
use crate::types::descriptor::Descriptor;
use crate::types::digest::{Algorithm, Digest, Hasher};
use crate::types::id::OpId;
use crate::types::reference::name::Repository;
use crate::wire::exchange::sending::Marks;
use crate::wire::target::Target;

/// The upload of one blob.
#[derive(Debug)]
pub(crate) struct BlobUpload {
    pub(super) op: OpId,
    pub(super) target: Arc<Target>,
    pub(super) content: Content,
    pub(super) mount: Mount,
    pub(super) step: Step,
    /// The newest URL of the upload session.
    pub(super) session: Option<Uri>,
    /// Earlier sessions that may still be open.
    pub(super) abandoned: Vec<Uri>,
    /// Whether the session's position is one that the registry reported after a failure.
    pub(super) was_resumed: bool,
    /// The number of bytes that the session has.
    pub(super) offset: u64,
    /// The end of the bytes that the last request sent.
    pub(super) sent: u64,
    /// The largest number of bytes that a session had.
    pub(super) best: u64,
    /// Hashers over the beginning of the content.
    pub(super) marks: Marks,
    pub(super) form: Form,
    /// The failure that the next request follows, for its report.
    pub(super) after: Option<Failed>,
    /// The number of failures since the last progress.
    pub(super) failed: u32,
    /// The number of sessions that were begun.
    pub(super) begun: u32,
    /// Whether the registry may have the whole content, although it did not say so.
    pub(super) may_exist: bool,
    /// Whether a request is under way.
    pub(super) is_waiting: bool,
    /// The minimum and maximum numbers of bytes of a stream in a chunk that is not the last one.
    pub(super) stream_chunk: RangeInclusive<u64>,
    pub(super) config: UploadConfig,
}

/// The settings of an upload.
#[derive(Clone, Debug)]
pub(super) struct UploadConfig {
    pub(super) plain_hosts: PlainHosts,
    pub(super) chunk_bytes: u64,
    pub(super) max_attempts: u32,
    pub(super) retry_after_max: Duration,
}

/// The content of an upload.
#[derive(Debug)]
pub(super) enum Content {
    /// Content that the driver can read from any position, unless its bytes are here.
    Known { digest: Digest, size: u64, bytes: Option<Bytes> },
    /// Content that is read once.
    Stream(Stream),
}

/// Whether the blob can be mounted.
#[derive(Debug)]
pub(super) enum Mount {
    Impossible,
    /// From this repository of the same registry.
    From(Repository),
    /// The registry has refused it.
    Refused,
}

#[derive(Debug)]
pub(super) enum Step {
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
            plain_hosts: config.plain_hosts(),
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

    /// Returns whether the next request is another attempt after a failure.
    pub(crate) fn has_failed(&self) -> bool {
        self.after.is_some()
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

    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        match &self.content {
            Content::Known { digest, .. } => digest.algorithm(),
            Content::Stream(stream) => Some(stream.algorithm),
        }
    }

    pub(super) fn habit(&self, habits: &Habits) -> Habit {
        habits.of(&self.target.origin)
    }
}

//! The options of uploads, and the progress that they report.

use std::fmt;
use std::sync::Arc;

use oci_proto::{Algorithm, Descriptor, Digest, Event, PushOptions, Repository, Stored};

/// The options of an upload of a blob.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
#[must_use]
pub struct UploadOptions {
    /// A repository of the same registry that may have the blob. The registry is asked to mount it from there,
    /// and nothing is sent if it does.
    pub mount: Option<Repository>,
    /// The hook for progress.
    pub progress: ProgressHook,
}

impl UploadOptions {
    /// Sets the repository of the same registry to mount the blob from.
    pub fn mount_from(mut self, repository: Repository) -> Self {
        self.mount = Some(repository);
        self
    }

    /// Sets a [hook](ProgressHook::new) for progress.
    pub fn on_progress(mut self, hook: impl Fn(UploadProgress<'_>) + Send + Sync + 'static) -> Self {
        self.progress = ProgressHook::new(hook);
        self
    }
}

/// The options of an upload of a stream.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use]
pub struct StreamOptions {
    /// The algorithm of the blob's digest.
    pub algorithm: Algorithm,
    /// The hook for progress. It gets no [`UploadProgress::Sent`].
    pub progress: ProgressHook,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { algorithm: Algorithm::Sha256, progress: ProgressHook::default() }
    }
}

impl StreamOptions {
    /// Sets the algorithm of the blob's digest. [`Algorithm::Sha256`] by default, which every registry supports.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Sets a [hook](ProgressHook::new) for progress.
    pub fn on_progress(mut self, hook: impl Fn(UploadProgress<'_>) + Send + Sync + 'static) -> Self {
        self.progress = ProgressHook::new(hook);
        self
    }
}

/// The options of a push or a copy of a tree.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
#[must_use]
pub struct TransferOptions {
    /// What is sent, and under which names.
    pub push: PushOptions,
    /// The hook for progress.
    pub progress: ProgressHook,
}

impl TransferOptions {
    /// Sets a [hook](ProgressHook::new) for progress.
    pub fn on_progress(mut self, hook: impl Fn(UploadProgress<'_>) + Send + Sync + 'static) -> Self {
        self.progress = ProgressHook::new(hook);
        self
    }
}

impl From<PushOptions> for TransferOptions {
    fn from(push: PushOptions) -> Self {
        Self { push, progress: ProgressHook::default() }
    }
}

/// An event in the upload of a blob or a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UploadProgress<'a> {
    /// The blob was handed to the connection up to a position.
    Sent {
        /// The digest of the blob.
        digest: &'a Digest,
        /// The position, in bytes. It may decrease: an upload that was interrupted resumes at what the registry has.
        position: u64,
        /// The size of the blob, in bytes.
        size: u64,
    },
    /// The registry has acknowledged the blob up to this position, in bytes. The digest is `None` for a stream
    /// that has not ended. It may decrease if an upload begins again.
    Acknowledged(Option<&'a Digest>, u64),
    /// The blob or the document is stored.
    Stored(&'a Descriptor, Stored),
    /// The non-distributable layer is not sent.
    Skipped(&'a Descriptor),
}

/// A hook for progress, which does nothing by default.
#[derive(Clone)]
pub struct ProgressHook(Arc<dyn Fn(UploadProgress<'_>) + Send + Sync>);

impl ProgressHook {
    /// Creates a hook. The upload waits for it, so it should return quickly. The threads that send call it, also
    /// several at the same time.
    pub fn new(hook: impl Fn(UploadProgress<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    /// Calls the hook.
    pub fn report(&self, progress: UploadProgress<'_>) {
        (self.0)(progress);
    }

    /// Calls the hook if the event is about progress.
    pub fn report_event(&self, event: &Event) {
        match event {
            Event::Acknowledged { digest, bytes } => {
                self.report(UploadProgress::Acknowledged(digest.as_ref(), *bytes));
            }
            Event::Stored(descriptor, stored) => self.report(UploadProgress::Stored(descriptor, *stored)),
            Event::Skipped(descriptor) => self.report(UploadProgress::Skipped(descriptor)),
            _ => {}
        }
    }
}

impl Default for ProgressHook {
    fn default() -> Self {
        Self(Arc::new(|_| ()))
    }
}

impl fmt::Debug for ProgressHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgressHook").finish_non_exhaustive()
    }
}

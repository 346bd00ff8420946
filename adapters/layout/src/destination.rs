//! A layout as the destination of a pull.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use oci_proto::layout::RefName;
use oci_proto::{
    Answer, Descriptor, Digest, Error, Fault, FaultKind, Held, Kind, MediaType, Question, Referrer, Sink,
    StoreContent,
};

use crate::directory::Directory;
use crate::error::LayoutError;
use crate::writer::blob::BlobWriter;
use crate::writer::durability::Durability;
use crate::writer::{LayoutWriter, refuse_foreign};

/// Stores pulled content in a layout: the driver's side of [`Session::pull`](oci_proto::Session::pull).
///
/// [`answer`](Self::answer) answers the questions. Bytes of blobs go to [`append`](Self::append), from any
/// number of threads at a time. The session receives an error of the layout as a fault; if the pull fails,
/// [`failed`](Self::failed) returns the error itself. If the process is killed, the layout is valid, and the
/// next pull resumes.
///
/// Methods block while they read and write files.
pub struct LayoutDestination {
    /// Opened for the first question. Locked for writing only to set the root.
    writer: OnceLock<RwLock<LayoutWriter>>,
    /// How to open the writer.
    unopened: Mutex<Option<(PathBuf, Durability)>>,
    /// Whether existing blobs are verified.
    verifies: bool,
    blobs: Mutex<BTreeMap<Digest, Blob>>,
    /// The first error. Later ones are consequences of it, or equivalent to it.
    error: OnceLock<LayoutError>,
    name: RootName,
    /// The referrers that were found, by digest, so that their order does not depend on that of their lists.
    referrers: Mutex<BTreeMap<Digest, Descriptor>>,
    progress: Box<dyn Fn(Progress<'_>) + Send + Sync>,
}

/// The name of the root.
enum RootName {
    OfReference,
    Given(Option<RefName>),
}

/// A blob in progress; `None` once it is published.
type Blob = Arc<Mutex<Option<BlobWriter>>>;

/// An event in the pull of one descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// The pull is about to store this.
    Wanted(&'a Descriptor),
    /// The layout already has this many bytes of it.
    Present(&'a Digest, u64),
    /// This many bytes of it were received and written.
    Received(&'a Digest, u64),
    /// It is restarted at its first byte, or at the offset of a [`Present`](Self::Present) that follows.
    Restarted(&'a Digest),
    /// It is complete.
    Complete(&'a Digest),
    /// It is a nondistributable layer, or a referrer of an unknown type, and is skipped.
    Skipped(&'a Descriptor),
}

/// Why a pull failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// An error of the registry or the network.
    #[error(transparent)]
    Registry(#[from] Error),
    /// An error of the layout on disk.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl LayoutDestination {
    /// Stores pulled content in the layout of `writer`. Existing blobs with the right size are not fetched
    /// again.
    pub fn new(writer: LayoutWriter) -> Self {
        Self::of(OnceLock::from(RwLock::new(writer)), None)
    }

    /// Stores pulled content in the layout of a directory, as [`new`](Self::new). Nothing is created, locked or
    /// written before the pull has resolved its root.
    ///
    /// # Errors
    /// The directory has other files, is not a directory, cannot be read, or has an invalid `oci-layout`.
    pub fn at(directory: impl Into<PathBuf>, durability: Durability) -> Result<Self, LayoutError> {
        let directory = directory.into();
        match Directory::open(&directory) {
            Ok(opened) => refuse_foreign(&opened)?,
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error),
        }
        Ok(Self::of(OnceLock::new(), Some((directory, durability))))
    }

    fn of(writer: OnceLock<RwLock<LayoutWriter>>, unopened: Option<(PathBuf, Durability)>) -> Self {
        Self {
            writer,
            unopened: Mutex::new(unopened),
            verifies: false,
            blobs: Mutex::default(),
            error: OnceLock::new(),
            name: RootName::OfReference,
            referrers: Mutex::default(),
            progress: Box::new(|_| ()),
        }
    }

    /// Verifies existing blobs, and fetches those with wrong content again.
    #[must_use]
    pub fn verifying(mut self) -> Self {
        self.verifies = true;
        self
    }

    /// Names the root, or leaves it without a name, whatever the tag of the pull's reference is.
    #[must_use]
    pub fn named(mut self, name: Option<RefName>) -> Self {
        self.name = RootName::Given(name);
        self
    }

    /// Sets a hook for progress. The writing threads call it, so it should return quickly.
    #[must_use]
    pub fn on_progress(mut self, progress: impl Fn(Progress<'_>) + Send + Sync + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Answers a question of the pull: what the layout holds, or that content is stored.
    pub fn answer(&self, question: &Question) -> Answer {
        let answer = match question {
            Question::Held { descriptor, .. } => self.held(descriptor).map(Answer::Held),
            Question::Store { descriptor, content, .. } => match content {
                StoreContent::Document(manifest) => self.store(descriptor, manifest.bytes()),
                StoreContent::Bytes(bytes) => self.store(descriptor, bytes),
                StoreContent::Sink => self.publish(&descriptor.digest),
            }
            .map(|()| Answer::Stored),
            Question::Credentials(_)
            | Question::Document { .. }
            | Question::Referrers { .. }
            | Question::Read { .. } => {
                let fault =
                    Fault::new(FaultKind::Unsupported, "a layout that is written has nothing to send");
                return Answer::Failed(fault);
            }
        };
        answer.unwrap_or_else(|error| Answer::Failed(self.fault(error)))
    }

    /// Writes bytes of a blob that end at the sink's offset, as those of
    /// [`Receiving::push`](oci_proto::Receiving::push) do. If they start before the end of the bytes written
    /// so far, they replace everything after their start.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn append(&self, sink: &Sink, bytes: &[u8]) -> Result<(), Fault> {
        self.append_at(sink.offset.saturating_sub(bytes.len() as u64), &sink.digest, sink.size, bytes)
            .map_err(|error| self.fault(error))
    }

    /// Reports a skipped layer or referrer.
    pub fn skipped(&self, descriptor: &Descriptor) {
        self.report(Progress::Skipped(descriptor));
    }

    /// Records referrers that the pull has found, for [`done`](Self::done).
    pub fn referrers(&self, referrers: &[Referrer]) {
        let found = referrers.iter().map(|Referrer { descriptor, .. }| descriptor);
        self.found_referrers().extend(found.map(|found| (found.digest.clone(), found.clone())));
    }

    /// Makes the pulled content a root of the layout, with or without a name, unless another one was
    /// [set](Self::named). This is the last step, after
    /// which all content has its name and, if the writer is durable, is on disk.
    ///
    /// The [referrers](Self::referrers) become roots without a name at the same time, so that other programs find them
    /// in the layout, too. One that is a root stays as it is, and one that the pull has skipped is left out.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn done(&self, root: &Descriptor, name: Option<&RefName>) -> Result<(), LayoutError> {
        let name = match &self.name {
            RootName::OfReference => name,
            RootName::Given(given) => given.as_ref(),
        };
        let mut writer = self.opened()?.write().unwrap_or_else(PoisonError::into_inner);
        writer.flush()?;
        let mut referrers: Vec<_> = self.found_referrers().values().cloned().collect();
        referrers.retain(|referrer| writer.layout().has(referrer));
        writer.set_roots(root, name, &referrers)
    }

    /// Converts the error of a failed pull: if an error of the layout caused it, returns that one.
    pub fn failed(&self, error: Error) -> PullError {
        match self.error.get() {
            Some(cause) if error.fault().is_some_and(|fault| fault.kind() == FaultKind::Storage) => {
                cause.clone().into()
            }
            _ => error.into(),
        }
    }

    /// Determines how much of some content the layout has.
    pub(crate) fn held(&self, wanted: &Descriptor) -> Result<Held, LayoutError> {
        let digest = &wanted.digest;
        self.report(Progress::Wanted(wanted));
        if wanted.media_type.kind() != Kind::Other {
            let writer = self.writer()?;
            let Ok(manifest) = writer.layout().manifest(wanted) else { return Ok(Held::Nothing) };
            writer.keep(digest)?;
            self.report(Progress::Present(digest, wanted.size));
            return Ok(Held::Document(manifest.bytes().clone()));
        }
        if self.has(wanted)? {
            self.writer()?.keep(digest)?;
            self.report(Progress::Present(digest, wanted.size));
            self.report(Progress::Complete(digest));
            return Ok(Held::Whole);
        }
        let Some(mut blob) = self.writer()?.resume(wanted)? else { return Ok(Held::Nothing) };
        let (offset, hasher) = (blob.offset(), blob.take_hasher());
        let Some(hasher) = hasher.filter(|_| offset > 0) else { return Ok(Held::Nothing) };
        self.report(Progress::Present(digest, offset));
        self.blobs().insert(digest.clone(), Arc::new(Mutex::new(Some(blob))));
        Ok(Held::Part { offset, hasher })
    }

    pub(crate) fn append_at(
        &self,
        at: u64,
        digest: &Digest,
        size: Option<u64>,
        bytes: &[u8],
    ) -> Result<(), LayoutError> {
        let blob = self.blob(digest, size)?;
        let mut writer = blob.lock().unwrap_or_else(PoisonError::into_inner);
        // An abandoned exchange may still deliver bytes.
        let Some(open) = &mut *writer else { return Ok(()) };
        let restarts = at < open.offset();
        if restarts {
            // The session verifies the new bytes, not those that they replace.
            open.truncate(at)?;
        }
        let written = open.append(at, bytes);
        // The hook may be slow, or call this method.
        drop(writer);
        if restarts {
            self.report(Progress::Restarted(digest));
            if at > 0 {
                self.report(Progress::Present(digest, at));
            }
        }
        written?;
        self.report(Progress::Received(digest, bytes.len() as u64));
        Ok(())
    }

    /// Publishes a verified blob under its digest, at the latest when the pull is [done](Self::done).
    pub(crate) fn publish(&self, digest: &Digest) -> Result<(), LayoutError> {
        let blob = self.blobs().remove(digest);
        let blob = blob.and_then(|blob| blob.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(blob) = blob {
            self.writer()?.publish(blob)?;
        }
        self.report(Progress::Complete(digest));
        Ok(())
    }

    /// Stores a document, or other content in memory, at the latest when the pull is [done](Self::done). A file that has
    /// it already stays as it is.
    pub(crate) fn store(&self, descriptor: &Descriptor, content: &[u8]) -> Result<(), LayoutError> {
        let writer = self.writer()?;
        if writer.layout().verify(descriptor).is_ok() {
            writer.keep(&descriptor.digest)?;
        } else {
            writer.publish_content(descriptor, content)?;
        }
        drop(writer);
        self.report(Progress::Complete(&descriptor.digest));
        Ok(())
    }

    /// Converts an error to a fault, and keeps the first one.
    fn fault(&self, error: LayoutError) -> Fault {
        let fault = Fault::new(FaultKind::Storage, &error);
        let _ = self.error.set(error);
        fault
    }

    fn has(&self, descriptor: &Descriptor) -> Result<bool, LayoutError> {
        let writer = self.writer()?;
        let layout = writer.layout();
        Ok(if self.verifies { layout.verify(descriptor).is_ok() } else { layout.has(descriptor) })
    }

    /// The writer of a blob, created for its first bytes.
    fn blob(&self, digest: &Digest, size: Option<u64>) -> Result<Blob, LayoutError> {
        let mut blobs = self.blobs();
        if let Some(blob) = blobs.get(digest) {
            return Ok(blob.clone());
        }
        let size = size.unwrap_or(u64::MAX);
        let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), size);
        let mut blob = self.writer()?.begin(&descriptor)?;
        blob.take_hasher();
        let blob = Arc::new(Mutex::new(Some(blob)));
        blobs.insert(digest.clone(), blob.clone());
        Ok(blob)
    }

    fn writer(&self) -> Result<RwLockReadGuard<'_, LayoutWriter>, LayoutError> {
        Ok(self.opened()?.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn opened(&self) -> Result<&RwLock<LayoutWriter>, LayoutError> {
        if let Some(writer) = self.writer.get() {
            return Ok(writer);
        }
        let mut unopened = self.unopened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((directory, durability)) = &*unopened {
            let writer = LayoutWriter::open_with(directory, *durability)?;
            *unopened = None;
            let _ = self.writer.set(RwLock::new(writer));
        }
        Ok(self.writer.get().expect("it is opened, or how to open it is known"))
    }

    fn blobs(&self) -> MutexGuard<'_, BTreeMap<Digest, Blob>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found_referrers(&self) -> MutexGuard<'_, BTreeMap<Digest, Descriptor>> {
        self.referrers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, progress: Progress<'_>) {
        (self.progress)(progress);
    }
}

impl fmt::Debug for LayoutDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayoutDestination").field("writer", &self.writer).finish_non_exhaustive()
    }
}

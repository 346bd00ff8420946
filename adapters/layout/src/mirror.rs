//! What a pull keeps in a layout.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use oci_proto::layout::RefName;
use oci_proto::{Descriptor, Digest, Error, Held, Kind, MediaType, Sink};

use crate::{BlobWriter, LayoutError, LayoutWriter};

/// Keeps what a pull brings: the driver's side of [`Session::pull`](oci_proto::Session::pull), on disk.
///
/// Each event of the operation that says something of content goes to the method of its name; bytes of blobs go
/// to [`append`](Self::append), from any number of threads. Killed at any moment, it leaves a valid layout, and
/// what the next pull goes on with.
///
/// All methods read and write files, and block for as long as that takes.
pub struct LayoutDestination {
    /// Written to at the end alone.
    writer: RwLock<LayoutWriter>,
    /// Whether what is there is read to see that it is right.
    verifies: bool,
    blobs: Mutex<BTreeMap<Digest, Blob>>,
    progress: Box<dyn Fn(Progress<'_>) + Send + Sync>,
}

/// A blob on its way; none once it has its name.
type Blob = Arc<Mutex<Option<BlobWriter>>>;

/// What becomes of content on its way into a layout.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// A pull is about to take this.
    Wanted(&'a Descriptor),
    /// This much of it is there from before.
    There(&'a Digest, u64),
    /// So many more bytes of it came.
    Came(&'a Digest, u64),
    /// It begins anew: what was there is thrown away.
    Restarted(&'a Digest),
    /// All of it is there.
    Complete(&'a Digest),
    /// It may not be distributed, and is left out.
    Skipped(&'a Descriptor),
}

/// Why a pull failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// On the registry's side, or on the way.
    #[error(transparent)]
    Registry(#[from] Error),
    /// On the disk's side.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl LayoutDestination {
    /// Keeps what is pulled in this layout. What is there already and has the right size is not fetched again.
    pub fn new(writer: LayoutWriter) -> Self {
        Self {
            writer: RwLock::new(writer),
            verifies: false,
            blobs: Mutex::default(),
            progress: Box::new(|_| ()),
        }
    }

    /// Reads what is there already, and fetches it again where it is wrong.
    #[must_use]
    pub fn verifying(mut self) -> Self {
        self.verifies = true;
        self
    }

    /// Tells `progress` what becomes of each content. It is called by whoever writes, and must not take long.
    #[must_use]
    pub fn on_progress(mut self, progress: impl Fn(Progress<'_>) + Send + Sync + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Says what there is of some content, for [`Session::held`](oci_proto::Session::held).
    ///
    /// # Errors
    /// What an earlier writer left cannot be read.
    pub fn wanted(&self, wanted: &Descriptor) -> Result<Held, LayoutError> {
        let digest = &wanted.digest;
        self.tell(Progress::Wanted(wanted));
        if wanted.media_type.kind() != Kind::Other {
            let document = self.writer().layout().manifest(wanted);
            return Ok(document.map_or(Held::Nothing, |manifest| {
                self.tell(Progress::There(digest, wanted.size));
                Held::Document(manifest.bytes().clone())
            }));
        }
        if self.has(wanted) {
            self.tell(Progress::There(digest, wanted.size));
            self.tell(Progress::Complete(digest));
            return Ok(Held::Whole);
        }
        let Some(mut blob) = self.writer().resume(wanted)? else { return Ok(Held::Nothing) };
        let (offset, hasher) = (blob.offset(), blob.take_hasher());
        let Some(hasher) = hasher.filter(|_| offset > 0) else { return Ok(Held::Nothing) };
        self.tell(Progress::There(digest, offset));
        self.blobs().insert(digest.clone(), Arc::new(Mutex::new(Some(blob))));
        Ok(Held::Part { offset, hasher })
    }

    /// Writes bytes of a blob, which belong at the sink's offset, less as many as they are: an exchange's sink
    /// counts what it has let through.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn append(&self, sink: &Sink, bytes: &[u8]) -> Result<(), LayoutError> {
        let at = sink.offset.saturating_sub(bytes.len() as u64);
        let blob = self.blob(sink)?;
        let mut blob = blob.lock().unwrap_or_else(PoisonError::into_inner);
        // An exchange that nobody waits for any more may still bring bytes.
        let Some(blob) = &mut *blob else { return Ok(()) };
        if at == 0 && blob.offset() > 0 {
            blob.restart()?;
            // The session verifies: nothing is hashed twice.
            blob.take_hasher();
            self.tell(Progress::Restarted(&sink.digest));
        }
        blob.append(at, bytes)?;
        self.tell(Progress::Came(&sink.digest, bytes.len() as u64));
        Ok(())
    }

    /// Gives a blob its name, which the session found to be right.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn verified(&self, digest: &Digest) -> Result<(), LayoutError> {
        let blob = self.blobs().remove(digest);
        let blob = blob.and_then(|blob| blob.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(blob) = blob {
            blob.finish()?;
        }
        self.tell(Progress::Complete(digest));
        Ok(())
    }

    /// Keeps a document, or other content that is at hand.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn store(&self, descriptor: &Descriptor, content: &[u8]) -> Result<(), LayoutError> {
        let writer = self.writer();
        if writer.layout().manifest(descriptor).is_err() {
            writer.put(descriptor, content)?;
        }
        drop(writer);
        self.tell(Progress::Complete(&descriptor.digest));
        Ok(())
    }

    /// Takes note of a layer that is left out.
    pub fn skipped(&self, descriptor: &Descriptor) {
        self.tell(Progress::Skipped(descriptor));
    }

    /// Makes what was pulled a root of the layout, with a name or without; the last step.
    ///
    /// # Errors
    /// The layout's index cannot be read or written.
    pub fn done(&self, root: &Descriptor, name: Option<&RefName>) -> Result<(), LayoutError> {
        self.writer.write().unwrap_or_else(PoisonError::into_inner).set_root(root, name)
    }

    fn has(&self, descriptor: &Descriptor) -> bool {
        let writer = self.writer();
        let layout = writer.layout();
        let is_right = || {
            let blob = layout.blob(&descriptor.digest, Some(descriptor.size));
            blob.is_ok_and(|mut blob| io::copy(&mut blob, &mut io::sink()).is_ok())
        };
        layout.has(descriptor) && (!self.verifies || is_right())
    }

    /// The writer of a blob, which begins with the blob's first bytes.
    fn blob(&self, sink: &Sink) -> Result<Blob, LayoutError> {
        let mut blobs = self.blobs();
        if let Some(blob) = blobs.get(&sink.digest) {
            return Ok(blob.clone());
        }
        let size = sink.size.unwrap_or(u64::MAX);
        let mut blob =
            self.writer().begin(&Descriptor::new(MediaType::OCTET_STREAM, sink.digest.clone(), size))?;
        blob.take_hasher();
        let blob = Arc::new(Mutex::new(Some(blob)));
        blobs.insert(sink.digest.clone(), blob.clone());
        Ok(blob)
    }

    fn writer(&self) -> RwLockReadGuard<'_, LayoutWriter> {
        self.writer.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn blobs(&self) -> MutexGuard<'_, BTreeMap<Digest, Blob>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, progress: Progress<'_>) {
        (self.progress)(progress);
    }
}

impl fmt::Debug for LayoutDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayoutDestination").field("writer", &self.writer).finish_non_exhaustive()
    }
}

//! Content that is verified as it is written, to a file or to an archive.

use std::io::{self, Read};

use oci_proto::{Descriptor, Digest, Hasher};

use crate::error::{LayoutError, LayoutErrorKind};

/// The size of reads from a source of content.
const CHUNK: usize = 256 << 10;

/// The progress of a blob that is being written: its bytes come in order, and count once they are written.
pub(crate) struct Unfinished {
    digest: Digest,
    size: u64,
    offset: u64,
    /// `None` if the caller verifies.
    hasher: Option<Hasher>,
    /// Whether a write failed, so that its bytes are unknown.
    broken: bool,
}

impl Unfinished {
    pub(crate) fn new(descriptor: &Descriptor) -> Result<Self, LayoutErrorKind> {
        let Descriptor { digest, size, .. } = descriptor.clone();
        let hasher = Some(Hasher::new(digest.algorithm().ok_or(LayoutErrorKind::Unverifiable)?));
        Ok(Self { digest, size, offset: 0, hasher, broken: false })
    }

    pub(crate) fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The offset of the next byte.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the hasher over the bytes that are written. The caller then verifies.
    pub(crate) fn take_hasher(&mut self) -> Option<Hasher> {
        self.hasher.take()
    }

    /// Counts all bytes of a reader, which are written already.
    pub(crate) fn resume(&mut self, written: impl Read) -> io::Result<()> {
        read_chunks(
            written,
            |bytes| self.append(self.offset, bytes, |_| Ok(())).map_err(io::Error::other),
            |error| error,
        )
    }

    /// Writes the next bytes with `write`, at `offset`.
    pub(crate) fn append(
        &mut self,
        offset: u64,
        bytes: &[u8],
        write: impl FnOnce(&[u8]) -> io::Result<()>,
    ) -> Result<(), LayoutErrorKind> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed").into());
        }
        if offset != self.offset {
            return Err(LayoutErrorKind::Order { expected: self.offset, given: offset });
        }
        let end = self.offset.saturating_add(bytes.len() as u64);
        if end > self.size {
            return Err(LayoutErrorKind::Size { expected: self.size, found: end });
        }
        if let Err(error) = write(bytes) {
            self.broken = true;
            return Err(error.into());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.offset = end;
        Ok(())
    }

    /// Discards all bytes, and verifies those that follow.
    pub(crate) fn restart(&mut self) {
        self.truncate(0);
        self.hasher = self.digest.algorithm().map(Hasher::new);
    }

    /// Discards the bytes from `offset` on, which the hasher must not include.
    pub(crate) fn truncate(&mut self, offset: u64) {
        (self.offset, self.broken) = (offset, false);
    }

    /// Fails unless the blob is complete, and matches its digest as far as that is known.
    pub(crate) fn verify(&mut self) -> Result<(), LayoutErrorKind> {
        if self.offset != self.size {
            return Err(LayoutErrorKind::Size { expected: self.size, found: self.offset });
        }
        match self.hasher.take().map(Hasher::finish) {
            Some(computed) if computed != self.digest => Err(LayoutErrorKind::Content(computed)),
            _ => Ok(()),
        }
    }
}

/// Copies a reader to its end with `append`. `unreadable` converts an error of the reader, unless that is one of another
/// layout, which has the path of its file.
pub(crate) fn copy(
    from: impl Read,
    append: impl FnMut(&[u8]) -> Result<(), LayoutError>,
    unreadable: impl FnOnce(io::Error) -> LayoutError,
) -> Result<(), LayoutError> {
    read_chunks(from, append, |error| error.downcast().unwrap_or_else(unreadable))
}

/// Reads to the end, and passes what is read to `each`. `failed` converts an error of the reader.
fn read_chunks<E>(
    mut from: impl Read,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
    failed: impl FnOnce(io::Error) -> E,
) -> Result<(), E> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => each(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

//! Image layouts on disk, and archives of them, as sources of trees.

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use oci_proto::Descriptor;
use oci_proto::layout::blob_path;
use oci_proto_layout::{BlobFile, Layout, LayoutError, LayoutErrorKind};

use crate::source::{BlobSource, RangeReader, ReadAt, TreeSource};

/// Errors have the path of the file.
impl TreeSource for Layout {
    fn document(&self, descriptor: &Descriptor) -> io::Result<Bytes> {
        let manifest = self.manifest(descriptor).map_err(error)?;
        Ok(manifest.bytes().clone())
    }

    fn blob(&self, descriptor: &Descriptor) -> io::Result<Box<dyn BlobSource>> {
        let file = self.open_unverified(&descriptor.digest).map_err(error)?;
        let path = self.path().join(blob_path(&descriptor.digest));
        if file.size() != descriptor.size {
            let why = LayoutErrorKind::Size { expected: descriptor.size, found: file.size() };
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display())));
        }
        Ok(Box::new(LayoutBlob { file, path: path.into() }))
    }

    fn referrers(&self, subject: &Descriptor) -> io::Result<Vec<Descriptor>> {
        Ok(Layout::referrers(self, &subject.digest).map_err(error)?.to_vec())
    }
}

#[derive(Clone)]
struct LayoutBlob {
    file: BlobFile,
    path: Arc<Path>,
}

impl BlobSource for LayoutBlob {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(RangeReader { content: self.clone(), range }))
    }
}

impl ReadAt for LayoutBlob {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

fn error(error: LayoutError) -> io::Error {
    let kind = match error.kind() {
        LayoutErrorKind::Missing => io::ErrorKind::NotFound,
        LayoutErrorKind::Io(cause) => cause.kind(),
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error)
}

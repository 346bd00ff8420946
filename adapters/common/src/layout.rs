//! Image layouts on disk as sources of trees.

use std::io;

use bytes::Bytes;
use oci_proto::Descriptor;
use oci_proto::layout::blob_path;
use oci_proto_layout::{Layout, LayoutError, LayoutErrorKind};

use crate::source::{BlobSource, FileSource, TreeSource};

/// Errors have the path of the file.
impl TreeSource for Layout {
    fn document(&self, descriptor: &Descriptor) -> io::Result<Bytes> {
        let manifest = self.manifest(descriptor).map_err(error)?;
        Ok(manifest.bytes().clone())
    }

    fn blob(&self, descriptor: &Descriptor) -> io::Result<Box<dyn BlobSource>> {
        let (file, found) = self.open_unverified(&descriptor.digest).map_err(error)?;
        let path = self.directory().join(blob_path(&descriptor.digest));
        if found != descriptor.size {
            let why = LayoutErrorKind::Size { expected: descriptor.size, found };
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display())));
        }
        Ok(Box::new(FileSource::of(file, path)))
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

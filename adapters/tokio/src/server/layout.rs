//! Serves the blobs of layouts on disk, in directories and in archives.

use std::io::{self, Read, Seek as _, SeekFrom};
use std::ops::Range;

use oci_proto::Digest;
use oci_proto::layout::blob_path;
use oci_proto_layout::{Layout, LayoutErrorKind};

use crate::server::blobs::{Blobs, Source};
use crate::server::opening::open_later;

/// Content is read while it is sent. It is not verified; the client does that.
impl Blobs for Layout {
    async fn open(&self, digest: &Digest, range: Range<u64>) -> io::Result<Source> {
        let (layout, digest) = (self.clone(), digest.clone());
        let is_empty = range.is_empty();
        let open = move || -> io::Result<Box<dyn Read + Send>> {
            let mut file = layout.open_unverified(&digest).map_err(|error| match error.kind() {
                LayoutErrorKind::Missing => io::Error::new(io::ErrorKind::NotFound, error),
                _ => io::Error::other(error),
            })?;
            let size = file.size();
            if size < range.end {
                let path = layout.path().join(blob_path(&digest));
                let (path, end) = (path.display(), range.end);
                return Err(io::Error::other(format!(
                    "{path}: {size} bytes, too few for byte range ..{end}"
                )));
            }
            file.seek(SeekFrom::Start(range.start))?;
            Ok(Box::new(file))
        };
        open_later(is_empty, open).await
    }
}

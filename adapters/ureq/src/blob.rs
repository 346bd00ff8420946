//! A blob as a reader.
use std::io::{self, Read};
use std::{fmt, mem};

use oci_proto::Reference;

use crate::Client;
use crate::call::Download;

/// The bytes of a blob, from [`Client::blob`].
///
/// They come as they arrive; the end comes only after all of them have been verified. The response is
/// read by the calls of `read`, so that a reader that has begun and rests holds one of the requests that
/// may be in flight. Dropping it cancels the download.
///
/// # Errors
/// A failed read carries an [`oci_proto::Error`] in its [`io::Error`]. Later reads fail too.
#[must_use = "nothing is sent before the first read"]
pub struct BlobReader {
    stage: Stage,
}

enum Stage {
    Fresh(Client, Reference, Option<u64>),
    Running(Box<Download>),
    Verified,
    Failed,
}

impl BlobReader {
    pub(crate) fn new(client: Client, reference: Reference, size: Option<u64>) -> Self {
        Self { stage: Stage::Fresh(client, reference, size) }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut download = match mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Fresh(client, reference, size) => Box::new(client.download(&reference, size)),
            Stage::Running(download) => download,
            Stage::Verified => {
                self.stage = Stage::Verified;
                return Ok(0);
            }
            Stage::Failed => return Err(io::Error::other("the download has failed before")),
        };
        let read = download.read(buffer).map_err(io::Error::other)?;
        self.stage = if read == 0 { Stage::Verified } else { Stage::Running(download) };
        Ok(read)
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReader").finish_non_exhaustive()
    }
}

//! Blobs that are opened on the thread that reads them.

use std::io::{self, Read};

use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::server::blobs::Source;

/// Returns a source that calls `open`, which may block, for its first read. If the range is empty, nothing is read, so
/// `open` is called at once: it fails if the blob is missing, or ends before the range does.
pub(super) async fn open_later<F>(is_empty: bool, open: F) -> io::Result<Source>
where
    F: FnOnce() -> io::Result<Box<dyn Read + Send>> + Send + 'static,
{
    if is_empty {
        spawn_blocking(open).await.map_err(io::Error::other)??;
        return Ok(Source::Bytes(Bytes::new()));
    }
    Ok(Source::Blocking(Box::new(Opening { open: Some(open), opened: None })))
}

struct Opening<F> {
    open: Option<F>,
    opened: Option<Box<dyn Read + Send>>,
}

impl<F: FnOnce() -> io::Result<Box<dyn Read + Send>>> Read for Opening<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(open) = self.open.take() {
            self.opened = Some(open()?);
        }
        // It failed to open before.
        let opened = self.opened.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        opened.read(buffer)
    }
}

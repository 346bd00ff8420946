//! The bytes of blobs between two registries: a driver passes those of a download to the upload of the same blob.

use bytes::Bytes;
use oci_proto::{Digest, ExchangeId, OpId, Sink, Source};

/// The number of bytes that a pipe holds before its download has to wait.
const CAPACITY: u64 = 600;

/// The open pipes.
#[derive(Debug, Default)]
pub(super) struct Pipes(Vec<Pipe>);

#[derive(Debug)]
struct Pipe {
    op: OpId,
    digest: Digest,
    /// The position of its first byte in the blob.
    start: u64,
    bytes: Vec<u8>,
    /// The downloads that fill it, one after another.
    writers: Vec<ExchangeId>,
    /// The upload that reads from it.
    reader: Option<ExchangeId>,
    /// The number of bytes read.
    read: u64,
}

impl Pipe {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl Pipes {
    /// Opens a pipe for a download, or continues the one of an earlier download.
    pub(super) fn open(&mut self, id: ExchangeId, sink: &Sink) {
        let Sink { op, digest, offset, .. } = sink;
        if let Some(pipe) = self.0.iter_mut().find(|pipe| pipe.op == *op && pipe.digest == *digest) {
            assert_eq!(pipe.end(), *offset, "a download of {digest} continues at another position");
            return pipe.writers.push(id);
        }
        self.0.push(Pipe {
            op: *op,
            digest: digest.clone(),
            start: *offset,
            bytes: Vec::new(),
            writers: vec![id],
            reader: None,
            read: 0,
        });
    }

    /// Makes an upload the reader of its pipe.
    pub(super) fn connect(&mut self, id: ExchangeId, source: &Source) {
        let Source { op, digest, start, .. } = source;
        let pipe = self.0.iter_mut().find(|pipe| pipe.op == *op && pipe.digest == *digest);
        let pipe = pipe.unwrap_or_else(|| panic!("an upload of {digest} without its download"));
        assert_eq!(pipe.reader, None, "two uploads of {digest} read from one download");
        assert_eq!(pipe.start, *start, "the halves of a pair begin at different positions of {digest}");
        pipe.reader = Some(id);
    }

    /// Takes bytes of a download, unless its upload has ended.
    pub(super) fn write(&mut self, id: ExchangeId, at: u64, bytes: &[u8]) {
        let Some(pipe) = self.0.iter_mut().find(|pipe| pipe.writers.contains(&id)) else { return };
        assert_eq!(at, pipe.end(), "a pipe of {} receives bytes twice, or misses some", pipe.digest);
        pipe.bytes.extend_from_slice(bytes);
    }

    /// Whether a download has to wait for its upload.
    pub(super) fn is_full(&self, writer: ExchangeId) -> bool {
        let pipe = self.0.iter().find(|pipe| pipe.writers.contains(&writer));
        pipe.is_some_and(|pipe| pipe.bytes.len() as u64 >= pipe.read + CAPACITY)
    }

    /// Whether there are unread bytes for an upload.
    pub(super) fn has_bytes(&self, reader: ExchangeId) -> bool {
        let pipe = self.0.iter().find(|pipe| pipe.reader == Some(reader));
        pipe.is_some_and(|pipe| pipe.bytes.len() as u64 > pipe.read)
    }

    /// Reads at most this many bytes.
    pub(super) fn read(&mut self, reader: ExchangeId, most: u64) -> Bytes {
        let Some(pipe) = self.0.iter_mut().find(|pipe| pipe.reader == Some(reader)) else {
            return Bytes::new();
        };
        let at = usize::try_from(pipe.read).expect("the position fits in memory");
        let rest = &pipe.bytes[at..];
        let read = rest.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        pipe.read += read as u64;
        Bytes::copy_from_slice(&rest[..read])
    }

    /// Closes the pipe that an upload reads from, or one without an upload.
    pub(super) fn close(&mut self, id: ExchangeId) {
        self.0.retain(|pipe| {
            let is_unread = pipe.reader.is_none() && pipe.writers.contains(&id);
            pipe.reader != Some(id) && !is_unread
        });
    }

    /// Closes the pipe of an upload that has ended. That of a download that has ended is still read.
    pub(super) fn finish(&mut self, id: ExchangeId) {
        self.0.retain(|pipe| pipe.reader != Some(id));
    }

    pub(super) fn close_all(&mut self) {
        self.0.clear();
    }
}

//! What both clients do to send content, apart from I/O. For authors of clients.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use oci_proto::{
    Answer, Descriptor, Digest, Error, Event, Fault, FaultKind, MediaType, Question, Source, Stored,
};

use crate::progress::{ProgressHook, UploadProgress};
use crate::source::{BlobSource, TreeSource};

/// A tree of one blob.
pub struct OneBlob(Arc<dyn BlobSource>);

impl OneBlob {
    /// Creates the tree, whose only blob has this source, whatever its descriptor.
    pub fn new(source: impl BlobSource + 'static) -> Self {
        Self(Arc::new(source))
    }
}

impl fmt::Debug for OneBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneBlob").finish_non_exhaustive()
    }
}

impl TreeSource for OneBlob {
    fn document(&self, descriptor: &Descriptor) -> io::Result<Bytes> {
        Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is missing", descriptor.digest)))
    }

    fn blob(&self, _: &Descriptor) -> io::Result<Box<dyn BlobSource>> {
        Ok(Box::new(self.0.clone()))
    }
}

/// A reader of the bytes that a request needs from its source. Its errors name the content.
pub struct PayloadSource {
    reader: Box<dyn Read + Send>,
    digest: Digest,
    left: u64,
    /// The size of the content, if its last bytes are read. They are returned only if the source ends with them.
    ends_at: Option<u64>,
}

impl fmt::Debug for PayloadSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadSource").field("digest", &self.digest).finish_non_exhaustive()
    }
}

impl PayloadSource {
    /// Opens the content, and blocks meanwhile.
    ///
    /// # Errors
    /// Returns an error with the digest if the content cannot be opened.
    pub fn open(tree: &dyn TreeSource, source: &Source) -> io::Result<Self> {
        let digest = source.digest.clone();
        let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), source.size);
        let mut range = source.read_range();
        let left = range.end.saturating_sub(range.start);
        let ends_at = (range.end == source.size).then_some(source.size);
        if ends_at.is_some() {
            // Shows whether the source is longer.
            range.end = range.end.saturating_add(1);
        }
        let opened = tree.blob(&descriptor).and_then(|blob| blob.open(range));
        let reader = opened.map_err(|error| named(&digest, &error))?;
        Ok(Self { reader, digest, left, ends_at })
    }

    /// The number of bytes that may follow.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Checks, once everything is read, that the source has no more.
    fn check_end(&mut self) -> io::Result<()> {
        let Some(size) = self.ends_at.filter(|_| self.left == 0) else { return Ok(()) };
        loop {
            match self.reader.read(&mut [0]) {
                Ok(0) => return Ok(()),
                Ok(_) => {
                    let message = format!("the source of {} is wrong: longer than {size} bytes", self.digest);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(named(&self.digest, &error)),
            }
        }
    }
}

impl Read for PayloadSource {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.reader.read(&mut buffer[..most]).map_err(|error| named(&self.digest, &error))?;
        self.left = self.left.saturating_sub(read as u64);
        self.check_end()?;
        Ok(read)
    }
}

/// Returns an error that names the content. The path of a blob in a layout names it already.
fn named(digest: &Digest, error: &io::Error) -> io::Error {
    let cause = error.to_string();
    let message = if cause.contains(&digest.encoded()) {
        format!("cannot read the source: {cause}")
    } else {
        format!("cannot read the source of {digest}: {cause}")
    };
    io::Error::new(error.kind(), message)
}

/// Answers a question about a tree that is sent, and blocks meanwhile. An error names the content. Any other question
/// fails.
pub fn answer_from(tree: &dyn TreeSource, question: &Question) -> Answer {
    let (content, answer) = match question {
        Question::Document { descriptor, .. } => {
            (descriptor, tree.document(descriptor).map(Answer::Document))
        }
        Question::Referrers { subject, .. } => (subject, tree.referrers(subject).map(Answer::Referrers)),
        Question::Credentials(_) | Question::Held { .. } | Question::Store { .. } | Question::Read { .. } => {
            let why = "a tree that is sent has only documents and referrers";
            return Answer::Failed(Fault::new(FaultKind::Unsupported, why));
        }
    };
    answer.unwrap_or_else(|error| {
        Answer::Failed(Fault::new(FaultKind::Storage, named(&content.digest, &error)))
    })
}

/// The result of an operation that sends content, from its events.
#[derive(Debug, Default)]
pub struct Sent {
    root: Option<Descriptor>,
    last: Option<(Descriptor, Stored)>,
}

impl Sent {
    /// Takes an event, and reports it to the hook if it is about progress. Returns how the operation ended, once it has.
    pub fn take(&mut self, event: Event, progress: &ProgressHook) -> Option<Result<(), Error>> {
        progress.report_event(&event);
        match event {
            Event::Resolved(descriptor) => self.root = Some(descriptor),
            Event::Stored(descriptor, stored) => self.last = Some((descriptor, stored)),
            Event::Failed(error) => return Some(Err(error)),
            Event::Done => return Some(Ok(())),
            _ => {}
        }
        None
    }

    /// Returns the root that the operation has resolved.
    ///
    /// # Panics
    /// Panics if the operation is not one of those that resolve a reference, or is not done.
    pub fn root(self) -> Descriptor {
        self.root.expect("a session resolves before it is done")
    }

    /// Returns the content that was stored last, and how.
    ///
    /// # Panics
    /// Panics if the operation is not done.
    pub fn last(self) -> (Descriptor, Stored) {
        self.last.expect("a session stores content before it is done")
    }
}

/// Counts the bytes of a payload that are sent, and reports them.
pub struct SentCounter {
    digest: Digest,
    size: u64,
    /// The position in the content of the next byte that is read.
    position: u64,
    /// The position of the first byte that is sent. Those before are only hashed.
    start: u64,
    progress: ProgressHook,
}

impl fmt::Debug for SentCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentCounter")
            .field("digest", &self.digest)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl SentCounter {
    /// Begins to count for a request.
    pub fn new(source: &Source, progress: ProgressHook) -> Self {
        let Source { digest, size, start: position, .. } = source;
        let start = source.range.start;
        Self { digest: digest.clone(), size: *size, position: *position, start, progress }
    }

    /// Counts the next bytes of the source.
    pub fn add(&mut self, bytes: usize) {
        self.position = self.position.saturating_add(bytes as u64);
        if bytes > 0 && self.position > self.start {
            self.progress.report(UploadProgress::Sent {
                digest: &self.digest,
                position: self.position,
                size: self.size,
            });
        }
    }
}

/// The bytes of a stream that are not sent yet, and are cut into chunks.
///
/// The answers to [`Question::Read`](oci_proto::Question::Read) come from here. A chunk is handed over only
/// once the byte after it has come, or the stream has ended, so that the last chunk is known as such: some
/// registries do not accept an empty one at the end.
#[derive(Debug, Default)]
pub struct ChunkBuffer {
    bytes: Vec<u8>,
    has_ended: bool,
}

impl ChunkBuffer {
    const FIRST: usize = 64 << 10;

    /// The number of bytes that may be added for chunks of at most `max` bytes; none if that is 0.
    pub fn room(&self, max: usize) -> usize {
        if self.has_ended || max == 0 { 0 } else { max.saturating_add(1).saturating_sub(self.bytes.len()) }
    }

    /// Adds as many of these bytes as there is room for. Returns their number.
    pub fn add(&mut self, bytes: &[u8], max: usize) -> usize {
        let mut added = 0;
        while added < bytes.len() && self.room(max) > 0 {
            let space = self.grow(max).min(bytes.len() - added);
            self.bytes.extend_from_slice(&bytes[added..added + space]);
            added += space;
        }
        added
    }

    /// Reads from `reader` until the space that is allocated next is full, or the reader ends, which is the end of the
    /// stream.
    ///
    /// # Errors
    /// Returns the error of the reader, except for an interrupted read.
    pub fn read_from(&mut self, reader: &mut dyn Read, max: usize) -> io::Result<()> {
        let space = self.grow(max);
        // One call, since each call initializes the space before it reads, however short the reads are.
        let read = reader.take(space as u64).read_to_end(&mut self.bytes)?;
        self.has_ended |= read < space;
        Ok(())
    }

    /// Allocates space for more bytes. Returns how many, which is 0 only if there is no room.
    pub fn grow(&mut self, max: usize) -> usize {
        let space = (self.bytes.capacity() - self.bytes.len()).min(self.room(max));
        if space > 0 || self.room(max) == 0 {
            return space;
        }
        let more = self.bytes.len().max(Self::FIRST).min(self.room(max));
        // Not more than a chunk.
        self.bytes.reserve_exact(more);
        more
    }

    /// The bytes, to which as many may be added as [`grow`](Self::grow) returned.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the stream.
    pub fn end(&mut self) {
        self.has_ended = true;
    }

    /// Whether the stream has ended.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Takes the next chunk, of at most `max` bytes. Returns `None` if more bytes are needed.
    pub fn cut(&mut self, max: usize) -> Option<Answer> {
        if self.bytes.len() > max {
            let rest = self.bytes.split_off(max);
            let bytes = std::mem::replace(&mut self.bytes, rest).into();
            return Some(Answer::Read { bytes, is_last: false });
        }
        self.has_ended.then(|| Answer::Read { bytes: std::mem::take(&mut self.bytes).into(), is_last: true })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use oci_proto::Algorithm;

    use super::*;

    #[test]
    fn an_unreadable_source_is_named_once() {
        let digest = Digest::of(Algorithm::Sha256, b"");
        let path = format!("layout/blobs/sha256/{}: not found", digest.encoded());
        for (cause, shown) in [
            (path.clone(), format!("cannot read the source: {path}")),
            ("broken".to_owned(), format!("cannot read the source of {digest}: broken")),
        ] {
            let error = named(&digest, &io::Error::new(io::ErrorKind::NotFound, cause));
            assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::NotFound, shown));
        }
    }

    /// A reader that returns at most this many bytes at a time.
    struct Parts<'a>(&'a [u8], usize);

    impl Read for Parts<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(self.1);
            self.0.read(&mut buffer[..length])
        }
    }

    /// Returns the chunks of a stream that is written or read in parts of these sizes.
    fn chunks(size: usize, max: usize, part: usize, by_reader: bool) -> Vec<(Vec<u8>, bool)> {
        let content: Vec<u8> = (0..=u8::MAX).cycle().take(size).collect();
        let (mut buffer, mut at, mut chunks) = (ChunkBuffer::default(), 0, Vec::new());
        loop {
            if let Some(Answer::Read { bytes, is_last }) = buffer.cut(max) {
                chunks.push((bytes.to_vec(), is_last));
                if is_last {
                    let all: Vec<u8> = chunks.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
                    assert_eq!(all, content, "{size}, {max}, {part}, {by_reader}");
                    return chunks;
                }
                continue;
            }
            if by_reader {
                let mut reader = Parts(&content[at..], part);
                buffer.read_from(&mut reader, max).unwrap();
                at = size - reader.0.len();
            } else {
                let added = buffer.add(&content[at..(at + part).min(size)], max);
                at += added;
                if at == size {
                    buffer.end();
                }
            }
            assert!(buffer.bytes.len() <= max + 1 && buffer.bytes.capacity() <= (max + 1).max(part * 2));
        }
    }

    #[test]
    fn every_chunk_but_the_last_is_full_and_only_an_empty_stream_has_an_empty_one() {
        let max = 300_000;
        for (size, expected) in [
            (0, vec![0]),
            (1, vec![1]),
            (max, vec![max]),
            (max + 1, vec![max, 1]),
            (2 * max, vec![max, max]),
            (3 * max - 1, vec![max, max, max - 1]),
        ] {
            for part in [99_991, 1 << 20] {
                for by_reader in [false, true] {
                    let chunks = chunks(size, max, part, by_reader);
                    let sizes: Vec<usize> = chunks.iter().map(|(bytes, _)| bytes.len()).collect();
                    assert_eq!(sizes, expected, "{size} in parts of {part}, by a reader: {by_reader}");
                    let lasts = chunks.iter().filter(|(_, is_last)| *is_last).count();
                    assert_eq!((lasts, chunks.last().unwrap().1), (1, true));
                }
            }
        }
    }

    #[test]
    fn the_time_of_short_reads_is_proportional_to_their_number() {
        const MAX: usize = 16 << 20;
        let content = vec![7; MAX + 2];
        let mut reader = Parts(&content, 100);
        let (mut buffer, began) = (ChunkBuffer::default(), Instant::now());
        while buffer.room(MAX) > 0 {
            buffer.read_from(&mut reader, MAX).unwrap();
            assert!(began.elapsed() < Duration::from_secs(10), "{} bytes", buffer.bytes.len());
        }
        assert!(!buffer.has_ended() && buffer.bytes == content[..=MAX]);
    }

    #[test]
    fn chunks_may_become_smaller() {
        let mut buffer = ChunkBuffer::default();
        assert_eq!(buffer.add(&[7; 10], 8), 9);
        buffer.end();
        let mut sizes = Vec::new();
        while let Some(Answer::Read { bytes, is_last }) = buffer.cut(4) {
            sizes.push(bytes.len());
            if is_last {
                break;
            }
        }
        assert_eq!(sizes, [4, 4, 1]);
    }
}

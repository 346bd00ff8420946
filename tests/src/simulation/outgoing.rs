//! A payload on its way to a server, piece by piece.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_RANGE;
use oci_proto::{Fault, FaultKind, Payload, Sending, Source};

/// A payload that is being sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// None after the last byte.
    sending: Option<Sending>,
    /// The number of bytes that are read before the first one to send.
    before: u64,
    /// The number of bytes to read in total.
    total: u64,
    /// The number of bytes read.
    read: u64,
    /// The number of bytes of the payload after which the server responds, once it has decided.
    stop: Option<u64>,
    /// The bytes that the server has received.
    pub(super) arrived: Vec<u8>,
}

impl Outgoing {
    pub(super) fn new(sending: Sending, payload: &Payload, headers: &HeaderMap) -> Self {
        let (before, total) = match payload {
            Payload::Empty => (0, 0),
            Payload::Bytes(bytes) => (0, bytes.len() as u64),
            Payload::Source(source) => {
                check_range(source, headers);
                let read = source.read_range();
                (source.range.start - read.start, read.end - read.start)
            }
        };
        assert_eq!(sending.length(), total - before, "the length of a payload");
        Self { sending: Some(sending), before, total, read: 0, stop: None, arrived: Vec::new() }
    }

    pub(super) fn length(&self) -> u64 {
        self.total - self.before
    }

    /// Whether the server has decided how much it reads.
    pub(super) fn is_begun(&self) -> bool {
        self.stop.is_some()
    }

    /// Stops after this many bytes of the payload.
    pub(super) fn begin(&mut self, stop: u64) {
        self.stop = Some(stop.min(self.length()));
    }

    fn end(&self) -> u64 {
        match self.stop {
            Some(0) if self.total > 0 => 0,
            Some(stop) => self.before + stop,
            None => self.total,
        }
    }

    /// Whether nothing is sent before the response.
    pub(super) fn is_over(&self) -> bool {
        self.is_begun() && self.read >= self.end()
    }

    /// The range to read next, in bytes from the first one that is read.
    pub(super) fn next(&self, pieces: usize) -> std::ops::Range<u64> {
        let most = self.total.div_ceil(pieces as u64).max(1);
        self.read..self.end().min(self.read + most)
    }

    /// Sends the next bytes. `is_end` says that the source has no more.
    ///
    /// # Errors
    ///
    /// The source is wrong.
    pub(super) fn push(&mut self, bytes: &Bytes, is_end: bool) -> Result<(), Fault> {
        let Some(sending) = &mut self.sending else { return Ok(()) };
        let sent = sending.push(bytes)?;
        self.arrived.extend_from_slice(&bytes[sent]);
        self.read += bytes.len() as u64;
        if is_end && self.read < self.total {
            let ended = self.sending.take().map_or(Ok(()), Sending::finish);
            return Err(ended.expect_err("the source is too short"));
        }
        if self.read == self.total {
            self.sending.take().map_or(Ok(()), Sending::finish)?;
        }
        Ok(())
    }

    /// Stops sending: the response arrives, or the connection has broken.
    pub(super) fn stop(&mut self) {
        self.sending = None;
    }
}

/// The driver's own bytes of a source, from a position after its start.
///
/// # Errors
///
/// The driver does not have the content.
pub(super) fn read(
    content: Option<Bytes>,
    source: &Source,
    range: std::ops::Range<u64>,
) -> Result<Bytes, Fault> {
    let missing = || Fault::new(FaultKind::Storage, "the content is not there");
    let bytes = content.ok_or_else(missing)?;
    let at = |position: u64| usize::try_from(source.start + position).unwrap_or(usize::MAX).min(bytes.len());
    Ok(bytes.slice(at(range.start)..at(range.end)))
}

/// The headers of a request declare the range of its source: a part, or the whole content.
fn check_range(source: &Source, headers: &HeaderMap) {
    let Source { range, size, .. } = source;
    let declared = headers.get(CONTENT_RANGE).map(|value| value.to_str().expect("a range is text"));
    let expected = format!("{}-{}", range.start, range.end.saturating_sub(1));
    match declared {
        Some(declared) => assert_eq!(declared, expected, "a Content-Range of other bytes"),
        None => assert_eq!((range.start, range.end), (0, *size), "a part without Content-Range"),
    }
}

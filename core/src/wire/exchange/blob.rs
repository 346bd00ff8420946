//! The body of a blob, or of the rest of one. It is hashed across all responses and handed to the sink.

use std::ops::Range;

use http::HeaderMap;
use http::header::CONTENT_RANGE;

use crate::error::{Cause, LimitExceeded, Misbehaviour};
use crate::header::content_range::ContentRange;
use crate::types::digest::{Digest, Hasher};
use crate::wire::exchange::completion::Outcome;
use crate::wire::exchange::sink::Sink;
use crate::wire::exchange::want::BlobWant;
use crate::wire::head::{Coding, content_length, single};

#[derive(Debug)]
pub(crate) struct BlobBody {
    want: Box<BlobWant>,
    /// The number of bytes to skip, if the registry ignored the range and sends the blob from its start.
    skip: u64,
    /// The offset in the blob at which this body ends, if known.
    stop: Option<u64>,
    coding: Coding,
}

impl BlobBody {
    /// Starts a body with the whole content. Bytes before the sink's offset are skipped.
    pub(crate) fn whole(mut want: Box<BlobWant>, headers: &HeaderMap) -> Result<Self, Cause> {
        let coding = Coding::of(headers);
        match (want.end(), content_length(headers)) {
            (Some(expected), Some(announced)) if expected != announced => {
                return Err(coding.explain(Misbehaviour::WrongSize { expected, announced }.into()));
            }
            (None, Some(length)) if length > want.limit => {
                return Err(LimitExceeded::BlobBytes(want.limit).into());
            }
            (None, Some(received)) if received < want.sink.offset => {
                return Err(Misbehaviour::TooShort { expected: want.sink.offset, received }.into());
            }
            (None, length) => want.announced = length,
            _ => {}
        }
        want.skipped = want.sink.offset;
        Ok(Self { skip: want.sink.offset, stop: want.end(), coding, want })
    }

    /// Starts a body with a range of the content, which must begin at the sink's offset.
    ///
    /// Source: RFC 9110, sections 14.4 and 15.3.7.
    pub(crate) fn part(mut want: Box<BlobWant>, headers: &HeaderMap) -> Result<Self, Cause> {
        let coding = Coding::of(headers);
        let unusable = |problem: String| Misbehaviour::Header { name: "Content-Range", problem };
        let value = single(headers, CONTENT_RANGE, "Content-Range")?;
        let value = value.ok_or_else(|| unusable("missing".to_owned()))?;
        let answered = ContentRange::parse(value.as_bytes()).map_err(Misbehaviour::from)?;
        let offset = want.sink.offset;
        let range = answered
            .range()
            .filter(|range| range.start == offset)
            .ok_or_else(|| unusable(format!("`{answered}` does not begin at byte {offset}")))?;
        match (want.end(), answered.total()) {
            (Some(expected), Some(announced)) if expected != announced => {
                return Err(Misbehaviour::WrongSize { expected, announced }.into());
            }
            (Some(end), None) if range.end > end => {
                return Err(unusable(format!("`{answered}` ends after the content's {end} bytes")).into());
            }
            (None, Some(total)) if total > want.limit => {
                return Err(LimitExceeded::BlobBytes(want.limit).into());
            }
            (None, None) if range.end > want.limit => {
                return Err(LimitExceeded::BlobBytes(want.limit).into());
            }
            (None, total) => want.announced = total,
            _ => {}
        }
        want.skipped = 0;
        Ok(Self { skip: 0, stop: Some(range.end), coding, want })
    }

    /// Handles a 416 response. Returns the end of the blob if that is the sink's offset and the bytes before it
    /// match.
    ///
    /// Source: RFC 9110, section 15.5.17.
    pub(crate) fn nothing_left(want: Box<BlobWant>, headers: &HeaderMap) -> Option<Outcome> {
        let answered =
            headers.get(CONTENT_RANGE).and_then(|value| ContentRange::parse(value.as_bytes()).ok());
        let total = answered.and_then(|answered| answered.total());
        let offset = want.sink.offset;
        let all_there =
            want.end().is_none_or(|end| end == offset) && total.is_none_or(|total| total == offset);
        end(*want).ok().filter(|_| all_there)
    }

    pub(crate) fn sink(&self) -> Option<&Sink> {
        Some(&self.want.sink).filter(|_| !self.want.discard)
    }

    /// Takes a chunk. Returns the range of its bytes that belong in the sink, and an error if the body is
    /// too long.
    ///
    /// The delivered bytes do not depend on the division into chunks.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> (Range<usize>, Option<Cause>) {
        let (deliver, too_long) = self.advance(chunk.len() as u64);
        let in_chunk = |at| usize::try_from(at).unwrap_or(usize::MAX).min(chunk.len());
        let deliver = in_chunk(deliver.start)..in_chunk(deliver.end);
        if let Some(hasher) = &mut self.want.hasher {
            hasher.update(&chunk[deliver.clone()]);
        }
        (if self.want.discard { 0..0 } else { deliver }, too_long)
    }

    /// Counts bytes that a recording omits. `digest` is the digest of the content including them.
    pub(crate) fn assume(&mut self, length: u64, digest: &Digest) -> Option<Cause> {
        let (_, too_long) = self.advance(length);
        if let Some(hasher) = &mut self.want.hasher {
            *hasher = Hasher::assumed(digest.clone());
        }
        too_long
    }

    /// Counts bytes. Returns the range of them to deliver, and an error if the body is too long.
    fn advance(&mut self, bytes: u64) -> (Range<u64>, Option<Cause>) {
        let start = self.skip.min(bytes);
        self.skip -= start;
        let left = bytes - start;
        let room = self.stop.unwrap_or(self.want.limit).saturating_sub(self.want.sink.offset);
        let length = room.min(left);
        self.want.sink.offset += length;
        let too_long = (length < left).then(|| match self.stop {
            Some(expected) => self.coding.explain(Misbehaviour::TooLong { expected }.into()),
            None => LimitExceeded::BlobBytes(self.want.limit).into(),
        });
        (start..start + length, too_long)
    }

    /// Returns the digest of the content so far, or the expected one if the content is verified elsewhere.
    pub(crate) fn digest(&self) -> Digest {
        self.want.hasher.clone().map_or_else(|| self.want.sink.digest.clone(), Hasher::finish)
    }

    /// Returns whether a recording omits some of the content so far.
    pub(crate) fn is_assumed(&self) -> bool {
        self.want.hasher.as_ref().is_some_and(Hasher::is_assumed)
    }

    /// Ends the body: the blob is complete, or the rest of it must be requested.
    pub(crate) fn finish(self) -> Outcome {
        let received = self.want.sink.offset;
        let expected = self.want.end().or(self.stop).unwrap_or(received);
        if received < expected || self.skip > 0 {
            let too_short = Misbehaviour::TooShort { expected, received }.into();
            return match self.coding.explain(too_short) {
                too_short @ Cause::Misbehaved(Misbehaviour::TooShort { .. }) => {
                    Outcome::Partial(self.want, too_short)
                }
                encoded => Outcome::Failed(encoded),
            };
        }
        let ended = end(*self.want).map_err(|misbehaviour| self.coding.explain(misbehaviour.into()));
        ended.unwrap_or_else(Outcome::Failed)
    }

    /// Ends the body early, for this cause.
    pub(crate) fn fail(self, cause: Cause) -> Outcome {
        // A failure after the last byte loses nothing.
        if self.want.end() == Some(self.want.sink.offset) {
            return self.finish();
        }
        Outcome::Partial(self.want, cause)
    }
}

/// Ends a blob, after all bytes were delivered: checks the digest, unless an upload verifies the bytes.
fn end(want: BlobWant) -> Result<Outcome, Misbehaviour> {
    let expected = want.sink.digest;
    match want.hasher.map(Hasher::finish) {
        None => Ok(Outcome::Delivered(expected)),
        Some(computed) if computed == expected => Ok(Outcome::Blob(computed)),
        Some(computed) => Err(Misbehaviour::WrongDigest { expected, computed }),
    }
}

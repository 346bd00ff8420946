//! The body of a blob, or of the rest of one: verified over all its segments, and passed on.

use http::HeaderMap;
use http::header::CONTENT_RANGE;

use crate::error::{Cause, LimitExceeded, Misbehaviour};
use crate::header::content_range::ContentRange;
use crate::types::digest::Hasher;
use crate::wire::exchange::{Answer, Sink};
use crate::wire::head::{content_length, refuse_encoding};

/// A blob, of which the sink has had all bytes before its offset.
#[derive(Clone, Debug)]
pub(crate) struct BlobWant {
    pub(crate) sink: Sink,
    /// Over the bytes that the sink has had.
    pub(crate) hasher: Hasher,
    /// How many bytes there are, as an earlier response said, where no descriptor says it.
    pub(crate) announced: Option<u64>,
    /// The most that is read where the size is not known.
    pub(crate) limit: u64,
    /// Whether its bytes belong nowhere: it is verified, and that is all.
    pub(crate) discard: bool,
}

impl BlobWant {
    /// Where the content ends, if that is known.
    pub(crate) fn end(&self) -> Option<u64> {
        self.sink.size.or(self.announced)
    }

    /// The sink has had all: the digest decides.
    fn verify(self) -> Result<Answer, Misbehaviour> {
        let computed = self.hasher.finish();
        if computed == self.sink.digest {
            Ok(Answer::Blob)
        } else {
            Err(Misbehaviour::WrongDigest { expected: self.sink.digest, computed })
        }
    }
}

#[derive(Debug)]
pub(super) struct BlobBody {
    want: Box<BlobWant>,
    /// How many bytes come again, since the registry begins at the beginning.
    skip: u64,
    /// Where this body ends, if that is known.
    stop: Option<u64>,
}

impl BlobBody {
    /// A response with the whole content. Where only the rest is wanted, what comes before is skipped.
    pub(super) fn whole(mut want: Box<BlobWant>, headers: &HeaderMap) -> Result<Self, Cause> {
        refuse_encoding(headers)?;
        match (want.end(), content_length(headers)) {
            (Some(expected), Some(announced)) if expected != announced => {
                return Err(Misbehaviour::WrongSize { expected, announced }.into());
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
        Ok(Self { skip: want.sink.offset, stop: want.end(), want })
    }

    /// A response with a part of the content: it must begin where the sink's bytes end.
    ///
    /// Source: RFC 9110, sections 14.4 and 15.3.7.
    pub(super) fn part(mut want: Box<BlobWant>, headers: &HeaderMap) -> Result<Self, Cause> {
        refuse_encoding(headers)?;
        let unusable = |problem: String| Misbehaviour::Header { name: "Content-Range", problem };
        let value = headers.get(CONTENT_RANGE).ok_or_else(|| unusable("it is not there".to_owned()))?;
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
            (Some(expected), None) if range.end > expected => {
                return Err(Misbehaviour::TooLong { expected }.into());
            }
            (None, Some(total)) if total > want.limit => {
                return Err(LimitExceeded::BlobBytes(want.limit).into());
            }
            (None, total) => want.announced = total,
            _ => {}
        }
        Ok(Self { skip: 0, stop: Some(range.end), want })
    }

    /// A response that says that there is nothing from the offset on; the want where it says something else.
    ///
    /// Source: RFC 9110, section 15.5.17.
    pub(super) fn nothing_left(
        want: Box<BlobWant>,
        headers: &HeaderMap,
    ) -> Option<Result<Answer, Misbehaviour>> {
        let answered =
            headers.get(CONTENT_RANGE).and_then(|value| ContentRange::parse(value.as_bytes()).ok());
        let total = answered.and_then(|answered| answered.total());
        let offset = want.sink.offset;
        let all_there = offset > 0
            && want.end().is_none_or(|end| end == offset)
            && total.is_none_or(|total| total == offset);
        all_there.then(|| want.verify())
    }

    pub(super) fn sink(&self) -> Option<&Sink> {
        Some(&self.want.sink).filter(|_| !self.want.discard)
    }

    /// Takes a chunk: what of it belongs in the sink, and why nothing more may come.
    ///
    /// What belongs in the sink does not depend on how the body was cut into chunks.
    pub(super) fn push<'a>(&mut self, chunk: &'a [u8]) -> (&'a [u8], Option<Cause>) {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(chunk.len());
        self.skip -= skipped as u64;
        let chunk = chunk.get(skipped..).unwrap_or_default();
        let room = self.stop.unwrap_or(self.want.limit).saturating_sub(self.want.sink.offset);
        let deliver = &chunk[..usize::try_from(room).unwrap_or(usize::MAX).min(chunk.len())];
        self.want.hasher.update(deliver);
        self.want.sink.offset += deliver.len() as u64;
        let too_long = (deliver.len() < chunk.len()).then(|| match self.stop {
            Some(expected) => Misbehaviour::TooLong { expected }.into(),
            None => LimitExceeded::BlobBytes(self.want.limit).into(),
        });
        (if self.want.discard { &[] } else { deliver }, too_long)
    }

    /// The body ended: the blob is there, or the rest of it is to be asked for.
    pub(super) fn finish(self) -> Answer {
        let received = self.want.sink.offset;
        let expected = self.want.end().or(self.stop).unwrap_or(received);
        if received < expected || self.skip > 0 {
            return Answer::Part(self.want, Misbehaviour::TooShort { expected, received }.into());
        }
        self.want.verify().unwrap_or_else(|misbehaviour| Answer::Broken(misbehaviour.into()))
    }

    /// The body broke off.
    pub(super) fn fail(self, cause: Cause) -> Answer {
        // What broke after the last byte took nothing away.
        if self.want.end() == Some(self.want.sink.offset) {
            return self.finish();
        }
        Answer::Part(self.want, cause)
    }
}

//! The check of a payload while it is sent.

use std::fmt;
use std::mem;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::error::fault::{Fault, FaultKind};
use crate::types::digest::{Digest, Hasher};
use crate::wire::request::Payload;

/// Counts and hashes the payload of a request while a driver sends it.
///
/// The driver passes each chunk that it reads to [`push`](Self::push), and sends the part of it that the
/// method returns. The last chunk of a whole content is accepted only if it matches its digest, so wrong
/// content is never uploaded completely. A digest with an unknown algorithm cannot be checked.
/// In a copy between registries, this check of the upload is the only one: its download is not hashed too.
/// After an error, the driver must close the connection and pass the fault to
/// [`Awaiting::fail`](crate::Awaiting::fail). If the response arrives before the whole payload is sent, the
/// driver stops sending and drops the `Sending`.
///
/// The session learns how many bytes were sent, even if the `Sending` is dropped.
#[must_use = "every chunk must be passed to it before it is sent"]
pub struct Sending {
    /// The number of bytes that are still read before the payload, and only hashed.
    before: u64,
    sent: u64,
    length: u64,
    /// The position in the content of the next byte.
    position: u64,
    marks: Marks,
    /// The digest of the whole content, and the hasher over the bytes sent so far, including those of
    /// earlier exchanges.
    whole: Option<(Digest, Hasher)>,
    /// Whether the payload ends at the end of the content.
    is_last: bool,
    /// The fault of a source with wrong content.
    refused: Option<Fault>,
    /// The digest of the source, if it is not the expected one.
    wrong_source: Option<Digest>,
    report: Arc<OnceLock<Sent>>,
}

/// The progress of a payload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    /// The number of bytes of this payload that were sent.
    pub(crate) bytes: u64,
    /// The hashers over the content up to some positions, in order, if all of it was hashed. The last one is
    /// that of the end.
    pub(crate) marks: Marks,
    /// The digest of the source, if it is not the expected one.
    pub(crate) wrong_source: Option<Digest>,
}

/// Hashers over the beginning of some content, up to several positions. An upload that resumes is verified
/// from the last one before that position, so that the source need not be read from its start.
///
/// Their number is bounded: the distance between them grows with the content.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    marks: Vec<(u64, Hasher)>,
    /// The distance between marks, or 0 at the start.
    stride: u64,
}

impl Marks {
    const MAX: usize = 32;
    const FIRST_STRIDE: u64 = 1 << 20;

    /// Returns the last mark at or before this position.
    pub(crate) fn before(&self, position: u64) -> Option<&(u64, Hasher)> {
        self.marks.iter().rev().find(|(at, _)| *at <= position)
    }

    /// Adds the marks of a later part. Marks of the same positions are replaced.
    pub(crate) fn extend(&mut self, later: Self) {
        if let Some((first, _)) = later.marks.first() {
            self.marks.retain(|(at, _)| at < first);
        }
        self.stride = self.stride.max(later.stride);
        self.marks.extend(later.marks);
        self.thin();
    }

    fn add(&mut self, position: u64, hasher: &Hasher) {
        let last = self.marks.last().map_or(0, |(at, _)| *at);
        if position.saturating_sub(last) >= self.stride.max(Self::FIRST_STRIDE) {
            self.marks.push((position, hasher.clone()));
            self.thin();
        }
    }

    fn end(&mut self, position: u64, hasher: Hasher) {
        self.marks.retain(|(at, _)| *at < position);
        self.marks.push((position, hasher));
    }

    /// Removes marks that are too close to earlier ones, except for the last, until few enough are left.
    fn thin(&mut self) {
        let Some(last) = self.marks.last().map(|(at, _)| *at) else { return };
        loop {
            let (stride, mut kept) = (self.stride, 0);
            self.marks.retain(|(at, _)| {
                let is_kept = at.saturating_sub(kept) >= stride || *at == last;
                kept = if is_kept { *at } else { kept };
                is_kept
            });
            if self.marks.len() <= Self::MAX {
                return;
            }
            self.stride = self.stride.max(Self::FIRST_STRIDE).saturating_mul(2);
        }
    }
}

impl Sending {
    /// Creates the check for a payload, or returns `None` for an empty one. `prefix` is the hasher over the
    /// content's bytes before the source's start, if those were hashed.
    pub(crate) fn of(payload: &Payload, prefix: Option<Hasher>, report: Arc<OnceLock<Sent>>) -> Option<Self> {
        let (before, position, length, whole, is_last) = match payload {
            Payload::Empty => return None,
            Payload::Bytes(bytes) => (0, 0, bytes.len() as u64, None, false),
            Payload::Source(source) => {
                let fresh = || source.digest.algorithm().map(Hasher::new).filter(|_| source.start == 0);
                let hasher = prefix.or_else(fresh);
                let whole = hasher.map(|hasher| (source.digest.clone(), hasher));
                let before = source.range.start.saturating_sub(source.start);
                (before, source.start, source.length(), whole, source.range.end == source.size)
            }
        };
        let marks = Marks::default();
        Some(Self {
            before,
            sent: 0,
            length,
            position,
            marks,
            whole,
            is_last,
            refused: None,
            wrong_source: None,
            report,
        })
    }

    /// Returns the length of the payload in bytes: its Content-Length.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the number of bytes accepted so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Checks the next chunk that was read, and returns the part of it to send, which may be empty. Bytes
    /// before the payload's range are only hashed.
    ///
    /// # Errors
    /// Returns a fault if the payload is too long, or if the chunk ends the content and the whole does not
    /// match its digest. Nothing of the chunk may be sent then.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Range<usize>, Fault> {
        if let Some(fault) = &self.refused {
            return Err(fault.clone());
        }
        let skipped = usize::try_from(self.before).unwrap_or(usize::MAX).min(chunk.len());
        let payload = chunk.len() - skipped;
        let (length, sent) = (self.length, self.sent.saturating_add(payload as u64));
        if sent > length {
            self.refuse(format_args!("longer than {length} bytes"))?;
        }
        let position = self.position.saturating_add(chunk.len() as u64);
        if let Some((_, hasher)) = &mut self.whole {
            hasher.update(chunk);
            self.marks.add(position, hasher);
        }
        if sent == length && payload > 0 {
            self.verify()?;
        }
        (self.before, self.sent, self.position) = (self.before - skipped as u64, sent, position);
        Ok(skipped..chunk.len())
    }

    /// Counts bytes that were sent in a recorded conversation, perhaps from a source that was refused for its digest.
    pub(crate) fn assume(mut self, sent: u64, wrong_source: Option<Digest>) {
        self.sent = sent.min(self.length);
        self.wrong_source = wrong_source;
        self.whole = None;
    }

    /// Ends the payload at the end of the source.
    ///
    /// # Errors
    /// Returns a fault if the source ended too early, or if a chunk was refused. The request cannot be
    /// completed then.
    pub fn finish(mut self) -> Result<(), Fault> {
        if let Some(fault) = self.refused.take() {
            return Err(fault);
        }
        let (length, sent) = (self.length, self.sent);
        if self.before > 0 || sent < length {
            return self.refuse(format_args!("ended after {sent} of {length} bytes"));
        }
        // An empty payload is never passed to `push`.
        self.verify()
    }

    /// Checks the whole content's digest, if the payload ends with its last byte.
    fn verify(&mut self) -> Result<(), Fault> {
        if let Some((digest, hasher)) = self.whole.as_ref().filter(|_| self.is_last) {
            let found = hasher.clone().finish();
            if found != *digest {
                self.wrong_source = Some(found.clone());
                return self.refuse(format_args!("digest mismatch: computed {found}"));
            }
        }
        Ok(())
    }

    /// Rejects the source. The payload can no longer be completed.
    fn refuse(&mut self, why: fmt::Arguments<'_>) -> Result<(), Fault> {
        let message = match self.whole.take() {
            Some((digest, _)) => format!("the source of {digest} is wrong: {why}"),
            None => format!("the payload's source is wrong: {why}"),
        };
        let fault = Fault::new(FaultKind::Storage, message);
        self.refused = Some(fault.clone());
        Err(fault)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let mut marks = mem::take(&mut self.marks);
        if let Some((_, hasher)) = self.whole.take() {
            marks.end(self.position, hasher);
        }
        // It is set only here.
        let _ = self.report.set(Sent { bytes: self.sent, marks, wrong_source: self.wrong_source.take() });
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sending({} of {} bytes)", self.sent, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::digest::Algorithm;
    use crate::types::id::Ids;
    use crate::wire::request::Source;

    const CONTENT: &[u8] = b"0123456789";

    fn sending(range: Range<u64>, prefix: Option<&[u8]>) -> (Sending, Arc<OnceLock<Sent>>) {
        let digest = Digest::of(Algorithm::Sha256, CONTENT);
        let payload = Payload::Source(Source {
            op: Ids::new().op(),
            digest,
            size: CONTENT.len() as u64,
            start: range.start,
            range,
        });
        let prefix = prefix.map(|bytes| {
            let mut hasher = Hasher::new(Algorithm::Sha256);
            hasher.update(bytes);
            hasher
        });
        let report = Arc::new(OnceLock::new());
        (Sending::of(&payload, prefix, report.clone()).expect("a source is a payload"), report)
    }

    #[test]
    fn the_last_chunk_is_accepted_only_if_the_digest_matches() {
        let (mut right, report) = sending(0..10, None);
        assert!(right.push(&CONTENT[..9]).is_ok());
        assert!(right.push(&CONTENT[9..]).is_ok());
        assert_eq!(right.finish(), Ok(()));
        assert_eq!(report.get().map(|sent| sent.bytes), Some(10));

        let (mut wrong, report) = sending(0..10, None);
        assert!(wrong.push(&CONTENT[..9]).is_ok());
        let fault = wrong.push(b"x").expect_err("the last byte is wrong");
        assert_eq!(fault.kind(), FaultKind::Storage);
        assert!(fault.message().contains("digest mismatch: computed sha256:"), "{fault}");
        drop(wrong);
        let computed = report.get().and_then(|sent| sent.wrong_source.clone());
        assert_eq!(computed, Some(Digest::of(Algorithm::Sha256, b"012345678x")));
    }

    #[test]
    fn a_source_of_the_wrong_length_is_rejected() {
        let (mut long, _) = sending(0..10, None);
        assert!(long.push(b"0123456789a").is_err());
        let (mut short, _) = sending(0..10, None);
        assert!(short.push(b"0123").is_ok());
        let fault = short.finish().expect_err("too short");
        assert!(fault.message().contains("ended after 4 of 10 bytes"), "{fault}");
    }

    #[test]
    fn a_refused_source_is_never_finished() {
        let (mut wrong, report) = sending(0..10, None);
        assert!(wrong.push(b"012345678x").is_err());
        assert_eq!(report.get().map(|sent| sent.bytes), None);
        assert!(wrong.push(b"").is_err());
        let fault = wrong.finish().expect_err("a driver that passes over the refusal");
        assert!(fault.message().contains("digest mismatch"), "{fault}");
        assert_eq!(report.get().map(|sent| (sent.bytes, sent.marks.before(9).is_some())), Some((0, false)));

        let (mut long, _) = sending(0..10, None);
        assert!(long.push(b"0123456789a").is_err());
        assert!(long.push(CONTENT).is_err(), "the source is another, whatever its beginning");
        assert!(long.finish().is_err());
    }

    #[test]
    fn an_empty_range_is_verified_too() {
        let (empty, _) = sending(10..10, Some(CONTENT));
        assert_eq!(empty.finish(), Ok(()));
        let (wrong, _) = sending(10..10, Some(b"0123456780"));
        assert!(wrong.finish().expect_err("another content").message().contains("digest mismatch"));
    }

    #[test]
    fn the_last_range_is_verified_with_the_ranges_before_it() {
        let (mut first, report) = sending(0..4, None);
        assert!(first.push(b"0123").is_ok());
        drop(first);
        let sent = report.get().expect("a dropped payload reports");
        assert_eq!(sent.bytes, 4);
        let (at, hasher) = sent.marks.before(9).expect("the end is marked");
        assert_eq!((*at, hasher.clone().finish()), (4, Digest::of(Algorithm::Sha256, b"0123")));
        let (mut rest, _) = sending(4..10, Some(b"0123"));
        assert!(rest.push(b"456789").is_ok());
        let (mut rest, _) = sending(4..10, Some(b"0124"));
        assert!(rest.push(b"456789").is_err(), "the prefix is wrong");
        // Without a hashed prefix only the registry can verify the whole.
        let (mut rest, _) = sending(4..10, None);
        assert!(rest.push(b"xxxxxx").is_ok());
    }

    #[test]
    fn marks_are_bounded_and_hold_the_hashers_of_their_positions() {
        // Of a content whose bytes are all equal, the digest shows the length.
        const STEP: usize = 300 << 10;
        let chunk = vec![7; STEP];
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let (mut marks, mut expected) = (Marks::default(), Vec::new());
        for number in 1..=400_u64 {
            hasher.update(&chunk);
            let position = number * STEP as u64;
            expected.push((position, hasher.clone().finish()));
            // Every tenth request resumes a little before the end of the last one.
            let mut later = Marks::default();
            later.add(position, &hasher);
            if number % 10 == 0 {
                later.end(position, hasher.clone());
            }
            marks.extend(later);
            assert!(marks.marks.len() <= Marks::MAX, "{} marks", marks.marks.len());
        }
        for (position, hasher) in &marks.marks {
            let mark = (*position, hasher.clone().finish());
            assert!(expected.contains(&mark), "{mark:?}");
        }
        let is_ascending = marks.marks.is_sorted_by(|(first, _), (second, _)| first < second);
        assert!(is_ascending);
        let (last, _) = marks.before(u64::MAX).expect("there are marks");
        assert_eq!(*last, 400 * STEP as u64);
        assert!(marks.before(STEP as u64 / 2).is_none());
        // They are spread over the content, so that little is read again.
        let middle = marks.before(200 * STEP as u64).expect("the first half is marked");
        assert!(middle.0 > 150 * STEP as u64, "{}", middle.0);
    }

    #[test]
    fn bytes_before_the_range_are_hashed_and_not_sent() {
        let digest = Digest::of(Algorithm::Sha256, CONTENT);
        for (last, is_right) in [(&b"89"[..], true), (b"8x", false)] {
            let source =
                Source { op: Ids::new().op(), digest: digest.clone(), size: 10, start: 2, range: 5..10 };
            let mut prefix = Hasher::new(Algorithm::Sha256);
            prefix.update(b"01");
            let report = Arc::new(OnceLock::new());
            let mut sending =
                Sending::of(&Payload::Source(source), Some(prefix), report.clone()).expect("a payload");
            assert_eq!((sending.length(), sending.push(b"23")), (5, Ok(2..2)));
            assert_eq!(sending.push(b"4567"), Ok(1..4));
            assert_eq!(sending.push(last).is_ok(), is_right);
            drop(sending);
            assert_eq!(report.get().map(|sent| sent.bytes), Some(if is_right { 5 } else { 3 }));
        }
    }
}

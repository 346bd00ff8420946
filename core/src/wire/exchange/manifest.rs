//! The body of a manifest: collected, bounded, verified, read.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::error::{Cause, LimitExceeded, Misbehaviour};
use crate::manifest::Manifest;
use crate::manifest::evidence::Evidence;
use crate::types::digest::{Algorithm, Digest, Hasher};
use crate::types::media_type::MediaType;
use crate::wire::exchange::Answer;
use crate::wire::head::{announced_digest, content_length, refuse_encoding};

#[derive(Debug)]
pub(crate) struct ManifestWant {
    /// What the bytes must be, where that is known.
    pub(crate) digest: Option<Digest>,
    /// The size that a descriptor gives.
    pub(crate) size: Option<u64>,
    /// The media type that a descriptor gives.
    pub(crate) media_type: Option<MediaType>,
    /// The most that is read where no descriptor gives a size.
    pub(crate) limit: u64,
}

#[derive(Debug)]
pub(super) struct ManifestBody {
    want: ManifestWant,
    collected: Vec<u8>,
    hasher: Hasher,
    /// Over the same bytes, where the registry announces another algorithm's digest.
    second: Option<Hasher>,
    announced: Option<Digest>,
    length: Option<u64>,
}

impl ManifestBody {
    /// Takes what the head says; refuses what cannot be what is wanted.
    pub(super) fn new(want: ManifestWant, headers: &HeaderMap) -> Result<Self, Cause> {
        refuse_encoding(headers)?;
        let announced = announced_digest(headers)?;
        let length = content_length(headers);
        match (want.size, length) {
            (Some(expected), Some(announced)) if expected != announced => {
                return Err(Misbehaviour::WrongSize { expected, announced }.into());
            }
            (None, Some(length)) if length > want.limit => {
                return Err(LimitExceeded::ManifestBytes(want.limit).into());
            }
            _ => {}
        }
        // What was asked for decides the algorithm, then what the registry announces.
        let algorithm = want
            .digest
            .as_ref()
            .or(announced.as_ref())
            .and_then(Digest::algorithm)
            .unwrap_or(Algorithm::Sha256);
        // A registry may announce another algorithm's digest than the one that was asked for.
        let second = announced.as_ref().and_then(Digest::algorithm).filter(|other| *other != algorithm);
        Ok(Self {
            collected: Vec::new(),
            hasher: Hasher::new(algorithm),
            second: second.map(Hasher::new),
            announced,
            length,
            want,
        })
    }

    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(), Cause> {
        let total = self.collected.len() as u64 + chunk.len() as u64;
        match self.want.size.or(self.length) {
            Some(expected) if total > expected => return Err(Misbehaviour::TooLong { expected }.into()),
            None if total > self.want.limit => {
                return Err(LimitExceeded::ManifestBytes(self.want.limit).into());
            }
            _ => {}
        }
        self.hasher.update(chunk);
        if let Some(second) = &mut self.second {
            second.update(chunk);
        }
        self.collected.extend_from_slice(chunk);
        Ok(())
    }

    pub(super) fn finish(self, headers: &HeaderMap) -> Result<Answer, Misbehaviour> {
        let content_type = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("\u{fffd}"));
        let received = self.collected.len() as u64;
        if let Some(expected) = self.want.size.or(self.length).filter(|size| *size != received) {
            return Err(Misbehaviour::TooShort { expected, received });
        }
        let digest = self.hasher.finish();
        if let Some(expected) = self.want.digest.filter(|expected| *expected != digest) {
            return Err(Misbehaviour::WrongDigest { expected, computed: digest });
        }
        let computed = self.second.map_or_else(|| digest.clone(), Hasher::finish);
        if let Some(expected) = self.announced.filter(|expected| *expected != computed) {
            return Err(Misbehaviour::WrongDigest { expected, computed });
        }
        let evidence = Evidence { content_type, expected: self.want.media_type.as_ref() };
        let manifest = Manifest::read(self.collected.into(), evidence)?;
        Ok(Answer::Manifest(digest, manifest))
    }
}

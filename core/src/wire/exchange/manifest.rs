//! The body of a manifest: collected up to a limit, verified and parsed.

use http::HeaderMap;

use crate::error::{Cause, LimitExceeded, Misbehaviour};
use crate::manifest::Manifest;
use crate::manifest::evidence::Evidence;
use crate::manifest::verify::Expectation;
use crate::types::digest::{Algorithm, Digest, Hasher};
use crate::wire::exchange::completion::Outcome;
use crate::wire::exchange::want::ManifestWant;
use crate::wire::head::{Coding, announced_digest, content_length, content_type};

#[derive(Debug)]
pub(crate) struct ManifestBody {
    want: ManifestWant,
    collected: Vec<u8>,
    hasher: Hasher,
    /// A second hasher over the same bytes, if the registry announces a digest of another algorithm.
    second: Option<Hasher>,
    announced: Option<Digest>,
    length: Option<u64>,
    coding: Coding,
}

impl ManifestBody {
    /// Reads the head, and rejects a response that cannot be the wanted manifest.
    pub(crate) fn new(want: ManifestWant, headers: &HeaderMap) -> Result<Self, Cause> {
        let coding = Coding::of(headers);
        let announced = announced_digest(headers)?;
        if want.digest.is_none() && announced.is_none() {
            coding.refuse()?;
        }
        let length = content_length(headers);
        match (want.size, length) {
            (Some(expected), Some(announced)) if expected != announced => {
                return Err(coding.explain(Misbehaviour::WrongSize { expected, announced }.into()));
            }
            (None, Some(length)) if length > want.limit => {
                return Err(LimitExceeded::ManifestBytes(want.limit).into());
            }
            _ => {}
        }
        // The requested digest determines the algorithm, or else the announced one.
        let algorithm = want
            .digest
            .as_ref()
            .or(announced.as_ref())
            .and_then(Digest::algorithm)
            .unwrap_or(Algorithm::Sha256);
        // A registry may announce a digest of another algorithm than the requested one.
        let second = announced.as_ref().and_then(Digest::algorithm).filter(|other| *other != algorithm);
        Ok(Self {
            collected: Vec::new(),
            hasher: Hasher::new(algorithm),
            second: second.map(Hasher::new),
            announced,
            length,
            coding,
            want,
        })
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), Cause> {
        let total = self.collected.len() as u64 + chunk.len() as u64;
        match self.want.size.or(self.length) {
            Some(expected) if total > expected => {
                return Err(self.coding.explain(Misbehaviour::TooLong { expected }.into()));
            }
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

    pub(crate) fn finish(self, headers: &HeaderMap) -> Result<Outcome, Cause> {
        let content_type = if self.want.is_blob { None } else { content_type(headers)? };
        let size = self.want.size.or(self.length);
        let digest = self.hasher.finish();
        let computed = self.second.map_or_else(|| digest.clone(), Hasher::finish);
        let wanted = Expectation { size, digest: self.want.digest.as_ref(), ..Expectation::default() };
        let announced = Expectation { digest: self.announced.as_ref(), ..Expectation::default() };
        let received = self.collected.len() as u64;
        let verified = wanted.verify_hashed(received, &digest);
        verified
            .and_then(|()| announced.verify_hashed(received, &computed))
            .map_err(|error| self.coding.explain(error.into()))?;
        let evidence = Evidence { content_type, expected: self.want.media_type.as_ref() };
        let manifest = Manifest::read(self.collected.into(), evidence).map_err(Misbehaviour::from)?;
        Ok(Outcome::Manifest(digest, manifest))
    }
}

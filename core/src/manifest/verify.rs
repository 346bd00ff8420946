//! Verification of content against its descriptor, before parsing.

use bytes::Bytes;

use crate::manifest::Manifest;
use crate::manifest::error::VerifyError;
use crate::manifest::evidence::Evidence;
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::media_type::MediaType;

impl Manifest {
    /// Verifies a document against its descriptor, then parses it.
    ///
    /// `content_type` is the Content-Type of the response, if any.
    ///
    /// # Errors
    /// Fails if the size or the digest differs, if the digest's algorithm is unknown, or if the
    /// document [is invalid](Self::read).
    pub fn verified(
        bytes: Bytes,
        descriptor: &Descriptor,
        content_type: Option<&str>,
    ) -> Result<Self, VerifyError> {
        Expectation::from(descriptor).read(bytes, content_type)
    }

    /// Verifies content that may be a document, and parses it if it is one.
    ///
    /// If the descriptor's media type is specific, the content is a document, as for
    /// [`verified`](Self::verified). If it is generic, the content decides; the result is `None` if it
    /// is neither an image nor an index.
    ///
    /// # Errors
    /// Fails as [`verified`](Self::verified) does.
    pub fn sniffed(
        bytes: Bytes,
        descriptor: &Descriptor,
        content_type: Option<&str>,
    ) -> Result<Option<Self>, VerifyError> {
        match Self::verified(bytes, descriptor, content_type) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(VerifyError::Manifest(refused))
                if descriptor.media_type.is_generic() && refused.is_no_document() =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// The expected properties of content. Unknown ones are not compared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Expectation<'a> {
    pub(crate) size: Option<u64>,
    pub(crate) digest: Option<&'a Digest>,
    pub(crate) media_type: Option<&'a MediaType>,
}

impl<'a> From<&'a Descriptor> for Expectation<'a> {
    fn from(Descriptor { media_type, digest, size, .. }: &'a Descriptor) -> Self {
        Self { size: Some(*size), digest: Some(digest), media_type: Some(media_type) }
    }
}

impl Expectation<'_> {
    /// Verifies a document, then parses it.
    pub(crate) fn read(self, bytes: Bytes, content_type: Option<&str>) -> Result<Manifest, VerifyError> {
        self.verify(&bytes)?;
        Ok(Manifest::read(bytes, Evidence { content_type, expected: self.media_type })?)
    }

    /// Verifies content.
    pub(crate) fn verify(self, content: &[u8]) -> Result<(), VerifyError> {
        let found = content.len() as u64;
        self.verify_size(found)?;
        let Some(digest) = self.digest else { return Ok(()) };
        let algorithm = digest.algorithm().ok_or_else(|| VerifyError::UnknownAlgorithm(digest.clone()))?;
        self.verify_hashed(found, &Digest::of(algorithm, content))
    }

    /// Verifies the size and digest of content that was hashed while it was received.
    pub(crate) fn verify_hashed(self, found: u64, computed: &Digest) -> Result<(), VerifyError> {
        self.verify_size(found)?;
        match self.digest {
            Some(expected) if expected != computed => {
                Err(VerifyError::Digest { expected: expected.clone(), computed: computed.clone() })
            }
            _ => Ok(()),
        }
    }

    fn verify_size(self, found: u64) -> Result<(), VerifyError> {
        match self.size {
            Some(expected) if expected != found => Err(VerifyError::Size { expected, found }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::error::InvalidManifest;
    use crate::types::digest::Algorithm;

    const INDEX: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;
    const BROKEN: &[u8] = br#"{"schemaVersion":2,"manifests":{}}"#;

    fn described(media_type: MediaType, content: &[u8]) -> Descriptor {
        Descriptor::new(media_type, Digest::of(Algorithm::Sha256, content), content.len() as u64)
    }

    fn verified(bytes: &'static [u8], descriptor: &Descriptor) -> Result<(), VerifyError> {
        Manifest::verified(Bytes::from_static(bytes), descriptor, None).map(drop)
    }

    #[test]
    fn size_then_digest_then_document_are_verified() {
        let index = described(MediaType::OCI_INDEX, INDEX);
        assert_eq!(verified(INDEX, &index), Ok(()));
        let (expected, found) = (index.size, 2);
        assert_eq!(verified(b"{}", &index), Err(VerifyError::Size { expected, found }));

        let computed = Digest::of(Algorithm::Sha256, BROKEN);
        let expected = index.digest.clone();
        assert_eq!(verified(BROKEN, &index), Err(VerifyError::Digest { expected, computed }));

        let broken = described(MediaType::OCI_INDEX, BROKEN);
        assert!(matches!(
            verified(BROKEN, &broken),
            Err(VerifyError::Manifest(InvalidManifest::Value { .. }))
        ));

        let odd = Descriptor { digest: "odd:abc".parse().unwrap(), ..index };
        assert_eq!(verified(INDEX, &odd), Err(VerifyError::UnknownAlgorithm(odd.digest)));
    }

    #[test]
    fn unknown_properties_are_not_compared() {
        let computed = Digest::of(Algorithm::Sha256, INDEX);
        assert_eq!(Expectation::default().verify(INDEX), Ok(()));
        assert_eq!(Expectation::default().verify_hashed(7, &computed), Ok(()));
        let wanted = Digest::of(Algorithm::Sha256, b"");
        let digest = Expectation { digest: Some(&wanted), ..Expectation::default() };
        let error = VerifyError::Digest { expected: wanted.clone(), computed: computed.clone() };
        assert_eq!(digest.verify_hashed(7, &computed), Err(error));
        assert_eq!(digest.verify_hashed(7, &wanted), Ok(()));
    }

    #[test]
    fn content_decides_if_the_descriptor_is_generic() {
        let sniffed = |media_type: &MediaType, content: &'static [u8]| {
            let descriptor = described(media_type.clone(), content);
            let sniffed = Manifest::sniffed(Bytes::from_static(content), &descriptor, None);
            sniffed.map(|manifest| manifest.map(|manifest| manifest.media_type().clone()))
        };
        let generic = MediaType::OCTET_STREAM;
        assert_eq!(sniffed(&generic, INDEX), Ok(Some(MediaType::OCI_INDEX)));
        assert_eq!(sniffed(&generic, br#"{"mediaType":"text/x-thing"}"#), Ok("text/x-thing".parse().ok()));
        for content in [&b"not a document"[..], b"{}", b"\xff"] {
            assert_eq!(sniffed(&generic, content), Ok(None), "{content:?}");
            assert!(sniffed(&MediaType::OCI_INDEX, content).is_err(), "{content:?}");
        }
        assert!(sniffed(&generic, br#"{"schemaVersion":2,"manifests":[],"layers":[]}"#).is_err());
    }
}

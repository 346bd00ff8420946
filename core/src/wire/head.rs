//! Headers that describe the body of a response.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};

use crate::error::Misbehaviour;
use crate::types::digest::Digest;

/// Returns the Content-Length header, if present and valid. HTTP stacks reject invalid ones.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Returns the digest that the registry announces, if it can be verified. An empty header counts as absent.
///
/// Source: distribution-spec, "Pulling manifests".
pub(crate) fn announced_digest(headers: &HeaderMap) -> Result<Option<Digest>, Misbehaviour> {
    const NAME: &str = "Docker-Content-Digest";
    let unusable = |problem: String| Misbehaviour::Header { name: NAME, problem };
    let Some(value) = headers.get("docker-content-digest") else { return Ok(None) };
    let text = value.to_str().map_err(|_| unusable("it is not text".to_owned()))?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let digest: Digest =
        text.parse().map_err(|e: crate::types::digest::InvalidDigest| unusable(e.to_string()))?;
    Ok(digest.algorithm().is_some().then_some(digest))
}

/// Rejects a response with a content coding. Requests accept only `identity`, since encoded bytes
/// cannot be verified.
///
/// Source: RFC 9110, section 12.5.3.
pub(crate) fn refuse_encoding(headers: &HeaderMap) -> Result<(), Misbehaviour> {
    for value in headers.get_all(CONTENT_ENCODING) {
        let coding = value.to_str().unwrap_or("bytes that are not text").trim();
        if !coding.is_empty() && !coding.eq_ignore_ascii_case("identity") {
            return Err(Misbehaviour::ContentEncoding(coding.chars().take(40).collect()));
        }
    }
    Ok(())
}

//! Headers that describe the body of a response.

use http::header::{AsHeaderName, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::{Cause, Misbehaviour};
use crate::types::digest::Digest;

/// Returns the Content-Length header, if present and valid. HTTP stacks reject invalid ones.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Returns the Content-Type header. Its value is not parsed, but bytes that are not text are replaced.
///
/// # Errors
/// Fails if the header is repeated with another media type.
pub(crate) fn content_type(headers: &HeaderMap) -> Result<Option<&str>, Misbehaviour> {
    fn text(value: &HeaderValue) -> &str {
        value.to_str().unwrap_or("\u{fffd}")
    }
    fn essence(value: &HeaderValue) -> &str {
        text(value).split(';').next().unwrap_or_default().trim()
    }
    let same = |first: &_, second: &_| essence(first).eq_ignore_ascii_case(essence(second));
    Ok(single_by(headers, CONTENT_TYPE, "Content-Type", same)?.map(text))
}

/// Returns the digest that the registry announces, if it can be verified. An empty header counts as absent.
///
/// Source: distribution-spec, "Pulling manifests".
pub(crate) fn announced_digest(headers: &HeaderMap) -> Result<Option<Digest>, Misbehaviour> {
    const NAME: &str = "Docker-Content-Digest";
    const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
    let unusable = |problem: String| Misbehaviour::Header { name: NAME, problem };
    let Some(value) = single(headers, DIGEST, NAME)? else { return Ok(None) };
    let text = value.to_str().map_err(|_| unusable("it is not text".to_owned()))?.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let digest: Digest =
        text.parse().map_err(|e: crate::types::digest::InvalidDigest| unusable(e.to_string()))?;
    Ok(digest.algorithm().is_some().then_some(digest))
}

/// Returns the value of a header that must not be repeated with different values.
///
/// Source: RFC 9110, section 5.3.
pub(crate) fn single<'a>(
    headers: &'a HeaderMap,
    key: impl AsHeaderName,
    name: &'static str,
) -> Result<Option<&'a HeaderValue>, Misbehaviour> {
    single_by(headers, key, name, |first, second| first == second)
}

fn single_by<'a>(
    headers: &'a HeaderMap,
    key: impl AsHeaderName,
    name: &'static str,
    same: impl Fn(&HeaderValue, &HeaderValue) -> bool,
) -> Result<Option<&'a HeaderValue>, Misbehaviour> {
    let mut values = headers.get_all(key).iter();
    let first = values.next();
    match first {
        Some(first) if !values.all(|value| same(first, value)) => {
            let problem = "it is repeated with different values".to_owned();
            Err(Misbehaviour::Header { name, problem })
        }
        _ => Ok(first),
    }
}

/// The content coding of a response, although requests accept only `identity`.
///
/// Servers label stored content, such as layers, with the coding of its file. The bytes are the content if
/// they match its size and digest.
///
/// Source: RFC 9110, sections 8.4 and 12.5.3.
#[derive(Clone, Debug)]
pub(crate) struct Coding(Option<Box<str>>);

impl Coding {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let codings = headers.get_all(CONTENT_ENCODING).iter();
        let mut codings = codings.map(|value| value.to_str().unwrap_or("bytes that are not text").trim());
        let other = codings.find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
        Self(other.map(|coding| coding.chars().take(40).collect()))
    }

    /// Returns an error if there is a content coding. Call it if the bytes cannot be verified.
    pub(crate) fn refuse(&self) -> Result<(), Misbehaviour> {
        match &self.0 {
            None => Ok(()),
            Some(coding) => Err(Misbehaviour::ContentEncoding(coding.to_string())),
        }
    }

    /// Returns the cause of a failure to match size or digest, which is the content coding if there is one.
    pub(crate) fn explain(&self, cause: Cause) -> Cause {
        let is_mismatch = matches!(
            cause,
            Cause::Misbehaved(
                Misbehaviour::WrongDigest { .. }
                    | Misbehaviour::WrongSize { .. }
                    | Misbehaviour::TooLong { .. }
                    | Misbehaviour::TooShort { .. }
            )
        );
        match self.refuse() {
            Err(misbehaviour) if is_mismatch => misbehaviour.into(),
            _ => cause,
        }
    }
}

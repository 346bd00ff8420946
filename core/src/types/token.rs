//! The answer of a token server.

use std::time::Duration;

use crate::types::secret::Secret;
use crate::types::token::fields::{Field, Fields};

pub(crate) mod fields;

/// What a token server answers to a request for a token.
///
/// Source: Docker's pages on token authentication and `OAuth2`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenAnswer {
    /// The token, opaque, fit for an Authorization header.
    pub token: Secret,
    /// How long it is good, from its receipt: 60 seconds where the answer does not say, and at least that.
    pub lifetime: Duration,
}

impl TokenAnswer {
    /// What an answer without `expires_in` means, and the least that it may say.
    const MIN_LIFETIME: Duration = Duration::from_secs(60);
    /// No token is trusted for longer.
    const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

    /// The longest token that is kept, in bytes. No server takes a header that is as long.
    const MAX_LEN: usize = 64 << 10;

    /// Reads an answer's body.
    ///
    /// # Errors
    ///
    /// It is not a JSON object, it has neither `token` nor `access_token`, empty and null ones not
    /// counted, or the token has a character that a header cannot carry, or more than 64 KiB.
    pub fn parse(body: &[u8]) -> Result<Self, InvalidToken> {
        let fields: Fields =
            serde_json::from_slice(body).map_err(|_| InvalidToken("it is not a JSON object"))?;
        let text = |field| match field {
            Field::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        };
        let token = text(fields.token).or_else(|| text(fields.access_token));
        let token = token.ok_or(InvalidToken("it has no token"))?;
        if !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(InvalidToken("its token has a character that a header cannot carry"));
        }
        if token.len() > Self::MAX_LEN {
            return Err(InvalidToken("its token is longer than 64 KiB, the most that is kept"));
        }
        let lifetime = match fields.expires_in {
            Field::Number(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let lifetime = lifetime.clamp(Self::MIN_LIFETIME, Self::MAX_LIFETIME);
        Ok(Self { token: token.into(), lifetime })
    }
}

/// Why a token server's answer cannot be used. It shows nothing of the answer, which may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token server's answer is unusable: {0}")]
pub struct InvalidToken(&'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_name_is_a_token_and_empty_or_null_is_none() {
        for (body, token, seconds) in [
            (r#"{"token":"a"}"#, "a", 60),
            (r#"{"token":"","access_token":"b","expires_in":300}"#, "b", 300),
            (r#"{"token":null,"access_token":"b","expires_in":5}"#, "b", 60),
            (r#"{"token":"a","access_token":"b","expires_in":-1}"#, "a", 60),
            (r#"{"token":"a","expires_in":"300"}"#, "a", 60),
            (r#"{"token":"a","expires_in":1e300}"#, "a", 60),
            (r#"{"token":"a","expires_in":99999999999}"#, "a", 24 * 60 * 60),
            (r#"{"token":"a","expires_in":300.9}"#, "a", 300),
            (r#"{"token":["x",{}],"access_token":"b","expires_in":{"x":[300]}}"#, "b", 60),
            (r#"{"token":true,"access_token":"b","expires_in":false}"#, "b", 60),
        ] {
            let answer = TokenAnswer::parse(body.as_bytes()).expect(body);
            assert_eq!((answer.token.reveal(), answer.lifetime.as_secs()), (token, seconds), "{body}");
        }
    }

    #[test]
    fn the_longest_token_has_64_kib() {
        let of_length =
            |length| TokenAnswer::parse(format!(r#"{{"token":"{}"}}"#, "x".repeat(length)).as_bytes());
        assert!(of_length(64 << 10).is_ok());
        assert!(of_length((64 << 10) + 1).is_err());
    }

    #[test]
    fn an_answer_without_a_usable_token_is_refused_and_not_shown() {
        let long = format!(r#"{{"token":"{}"}}"#, "s3cret".repeat(11_000));
        for body in [
            &b""[..],
            b"s3cret",
            b"{}",
            b"[]",
            b"null",
            br#"{"token":7}"#,
            br#"{"token":["s3cret"]}"#,
            br#"{"token":"s3cret\n"}"#,
            br#"{"token":"s3cret"} {}"#,
            b"\xff",
            long.as_bytes(),
        ] {
            let error = TokenAnswer::parse(body).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        }
    }
}

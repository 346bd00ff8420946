//! The response of a token server.

use std::time::Duration;

use serde_json::Value;

use crate::types::secret::Secret;
use crate::types::token::fields::{Field, Fields};

pub(crate) mod fields;

/// A token server's response to a token request.
///
/// Source: Docker's pages on token authentication and `OAuth2`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenAnswer {
    /// The opaque token, valid in an Authorization header.
    pub token: Secret,
    /// How long the token is valid from its receipt: at least 60 seconds, which is also the default,
    /// and at most 24 hours.
    pub lifetime: Duration,
}

impl TokenAnswer {
    /// The default without `expires_in`, and the minimum.
    const MIN_LIFETIME: Duration = Duration::from_secs(60);
    /// The maximum; a longer lifetime is reduced to it.
    const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

    /// The maximum length of a token, in bytes. Servers reject headers this long.
    const MAX_LEN: usize = 64 << 10;

    /// Parses a response body.
    ///
    /// # Errors
    ///
    /// Fails if the body is not a JSON object, if it has neither a `token` nor an `access_token` (empty
    /// and null ones count as absent), or if the token is longer than 64 KiB or has a character that is
    /// invalid in a header.
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
            return Err(InvalidToken("its token has a character that is invalid in a header"));
        }
        if token.len() > Self::MAX_LEN {
            return Err(InvalidToken("its token is longer than 64 KiB"));
        }
        let lifetime = match fields.expires_in {
            Field::Number(seconds) => Duration::try_from_secs_f64(seconds).unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let lifetime = lifetime.clamp(Self::MIN_LIFETIME, Self::MAX_LIFETIME);
        Ok(Self { token: token.into(), lifetime })
    }
}

/// Replaces each secret in a response body by its `name`, such that [`TokenAnswer::parse`] has the same outcome.
/// Unknown fields are dropped, since any of them may be secret.
pub(crate) fn rewrite(body: &[u8], mut name: impl FnMut(&str) -> String) -> Vec<u8> {
    let Ok(fields) = serde_json::from_slice::<Fields>(body) else {
        // Equally invalid, and of equal length.
        return vec![b'-'; body.len()];
    };
    let mut object = serde_json::Map::new();
    for (key, field) in [("token", fields.token), ("access_token", fields.access_token)] {
        if let Field::Text(text) = field {
            let mut named = name(&text);
            // An invalid token is replaced by one that is invalid for the same reason.
            if text.len() > TokenAnswer::MAX_LEN {
                named.push_str(&"-".repeat(TokenAnswer::MAX_LEN));
            }
            if !text.bytes().all(|b| b.is_ascii_graphic()) {
                named.push(' ');
            }
            object.insert(key.into(), named.into());
        }
    }
    if let Ok(Value::Object(answer)) = serde_json::from_slice(body)
        && let Some(Value::String(text)) = answer.get("refresh_token")
    {
        object.insert("refresh_token".into(), name(text).into());
    }
    if let Field::Number(seconds) = fields.expires_in {
        object.insert("expires_in".into(), seconds.into());
    }
    let mut rewritten = Value::from(object).to_string().into_bytes();
    // Keep the length, so that a limit on it applies equally.
    rewritten.resize(rewritten.len().max(body.len()), b' ');
    rewritten
}

/// The error returned when a token server's response fails to parse. It quotes nothing from the
/// response, which may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token server's response is unusable: {0}")]
pub struct InvalidToken(&'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_name_holds_a_token_and_empty_or_null_is_absent() {
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
    fn a_rewritten_answer_is_read_alike_and_holds_no_secret() {
        let long = format!(r#"{{"token":"s3cret{}"}}"#, "x".repeat(64 << 10));
        for body in [
            r#"{"token":"s3cret","expires_in":300.5,"id_token":"s3cret"}"#,
            r#"{"token":"","access_token":"s3cret","refresh_token":"s3cret"}"#,
            r#"{"token":"s3cret\n"}"#,
            r#"{"token":["s3cret"],"expires_in":"s3cret"}"#,
            r#"{"token":"s3cret","#,
            "s3cret",
            &long,
        ] {
            let name = |secret: &str| if secret.is_empty() { String::new() } else { "NAME".to_owned() };
            let rewritten = rewrite(body.as_bytes(), name);
            let named = |body: &[u8]| {
                let answer = TokenAnswer::parse(body)?;
                Ok::<_, InvalidToken>((name(answer.token.reveal()), answer.lifetime))
            };
            assert_eq!(named(&rewritten), named(body.as_bytes()), "{body:.100}");
            let text = String::from_utf8(rewritten).unwrap();
            assert!(!text.contains("s3cret"), "{text:.100}");
        }
    }

    #[test]
    fn a_token_longer_than_64_kib_is_rejected() {
        let of_length =
            |length| TokenAnswer::parse(format!(r#"{{"token":"{}"}}"#, "x".repeat(length)).as_bytes());
        assert!(of_length(64 << 10).is_ok());
        assert!(of_length((64 << 10) + 1).is_err());
    }

    #[test]
    fn a_response_without_a_usable_token_is_rejected_and_not_quoted() {
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

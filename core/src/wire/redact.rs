//! Redaction of secrets that a server echoes.

use std::borrow::Cow;
use std::cmp::Reverse;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use http::header::AUTHORIZATION;

use crate::header::url;
use crate::types::secret::Secret;
use crate::wire::percent;
use crate::wire::request::Payload;

/// Replaces a secret in a reported text.
pub(crate) const MARK: &str = "REDACTED";

/// The secrets of a request, in every form that its server has seen.
///
/// Servers and proxies in debug mode echo the request in their response, and responses become part of
/// errors and events that are displayed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redactor(Vec<Secret>);

impl Redactor {
    /// Shorter values would match ordinary words by chance and are too short to be secrets.
    const MIN_LEN: usize = 4;

    /// Collects the secrets of a request, including `refresh_token` if its form contains one.
    pub(crate) fn of(request: &Request<Payload>, refresh_token: Option<&Secret>) -> Self {
        let mut secrets: Vec<String> = Vec::new();
        let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if let Some((scheme, shown)) = authorization.and_then(|text| text.split_once(' ')) {
            if scheme == "Basic"
                && let Some(login) =
                    STANDARD.decode(shown).ok().and_then(|bytes| String::from_utf8(bytes).ok())
                && let Some((_, password)) = login.split_once(':')
            {
                secrets.push(password.to_owned());
            }
            secrets.push(shown.to_owned());
        }
        if let (Payload::Bytes(form), Some(token)) = (request.body(), refresh_token) {
            secrets.push(token.reveal().to_owned());
            let form = String::from_utf8_lossy(form);
            let encoded = form.split('&').find_map(|pair| pair.strip_prefix("refresh_token="));
            secrets.extend(encoded.map(str::to_owned));
        }
        for value in url::secret_values(request.uri()) {
            secrets.extend(percent::decode(value).map(Cow::into_owned));
            secrets.push(value.to_owned());
        }
        secrets.retain(|secret| secret.len() >= Self::MIN_LEN);
        // Longest first, since one secret may be part of another.
        secrets.sort_by_key(|secret| Reverse(secret.len()));
        Self(secrets.into_iter().map(Secret::from).collect())
    }

    /// Redacts the secrets in a text, including a truncated secret at its end.
    pub(crate) fn hide(&self, text: &str) -> String {
        self.0.iter().map(Secret::reveal).fold(text.to_owned(), |text, secret| {
            let text = text.replace(secret, MARK);
            let longest = secret.len().min(text.len());
            let truncated = (Self::MIN_LEN..=longest)
                .rev()
                .filter_map(|len| secret.get(..len))
                .find_map(|start| text.strip_suffix(start));
            truncated.map(|before| format!("{before}{MARK}")).unwrap_or(text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_redacted_in_every_form_that_the_server_saw() {
        let mut request = Request::new(Payload::Empty);
        request.headers_mut().insert(AUTHORIZATION, "Basic dXNlcjpodW50ZXIy".parse().unwrap());
        let redactor = Redactor::of(&request, None);
        let said = "Authorization: Basic dXNlcjpodW50ZXIy is user:hunter2";
        assert_eq!(redactor.hide(said), "Authorization: Basic REDACTED is user:REDACTED");

        request.headers_mut().insert(AUTHORIZATION, "Bearer abc.def".parse().unwrap());
        assert_eq!(Redactor::of(&request, None).hide("abc.def? abc!"), "REDACTED? abc!");
        assert_eq!(Redactor::of(&request, None).hide("It was abc.de"), "It was REDACTED");
        assert_eq!(Redactor::of(&request, None).hide("It was abc"), "It was abc");

        request.headers_mut().clear();
        *request.body_mut() = Payload::Bytes("a=b&refresh_token=x%2Fyz".into());
        let redactor = Redactor::of(&request, Some(&"x/yz".into()));
        assert_eq!(redactor.hide("x/yz or x%2Fyz"), "REDACTED or REDACTED");
    }

    #[test]
    fn the_query_values_of_a_signed_url_are_redacted() {
        let mut request = Request::new(Payload::Empty);
        for (uri, said, hidden) in [
            ("https://h/a?sig=x%2Fyz%3d&e=300", "x%2Fyz%3d is x/yz= for 300", "REDACTED is REDACTED for 300"),
            ("https://h/a?signature", "no signature", "no REDACTED"),
            ("https://h/a?a=twice&b=twicetwice", "twicetwice, twice", "REDACTED, REDACTED"),
            (
                "https://h/t?scope=repository:a:pull&service=host",
                "host: repository:a:pull",
                "host: repository:a:pull",
            ),
        ] {
            *request.uri_mut() = uri.parse().unwrap();
            assert_eq!(Redactor::of(&request, None).hide(said), hidden, "{uri}");
        }
    }

    #[test]
    fn short_values_are_not_redacted() {
        let mut request = Request::new(Payload::Empty);
        for shown in ["Basic dXNlcjo=", "Basic dXNlcjpubw==", "Bearer abc"] {
            request.headers_mut().insert(AUTHORIZATION, shown.parse().unwrap());
            assert_eq!(Redactor::of(&request, None).hide("no abc"), "no abc", "{shown}");
        }
        assert_eq!(Redactor::default().hide("no"), "no");
    }
}

//! What a server says again of what it was shown.

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

/// The secrets of a request, in each form that its server has seen.
///
/// Servers and proxies that are set up for debugging answer with the request itself; what they say becomes
/// part of errors and events, which are shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redactor(Vec<Secret>);

impl Redactor {
    /// What is shorter stands in words by chance, and is no secret worth the name.
    const MIN_LEN: usize = 4;

    /// Of what a request shows, where `refresh_token` is in its form.
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
        // One may be a part of another.
        secrets.sort_by_key(|secret| Reverse(secret.len()));
        Self(secrets.into_iter().map(Secret::from).collect())
    }

    /// The text without them, and without the beginning of one at the end of a text that breaks off.
    pub(crate) fn hide(&self, text: &str) -> String {
        self.0.iter().map(Secret::reveal).fold(text.to_owned(), |text, secret| {
            let text = text.replace(secret, "REDACTED");
            let longest = secret.len().min(text.len());
            let begun = (Self::MIN_LEN..=longest)
                .rev()
                .filter_map(|len| secret.get(..len))
                .find_map(|begun| text.strip_suffix(begun));
            begun.map(|before| format!("{before}REDACTED")).unwrap_or(text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_in_every_form_that_a_server_saw() {
        let mut request = Request::new(Payload::Empty);
        request.headers_mut().insert(AUTHORIZATION, "Basic dXNlcjpodW50ZXIy".parse().unwrap());
        let echo = Redactor::of(&request, None);
        let said = "Authorization: Basic dXNlcjpodW50ZXIy is user:hunter2";
        assert_eq!(echo.hide(said), "Authorization: Basic REDACTED is user:REDACTED");

        request.headers_mut().insert(AUTHORIZATION, "Bearer abc.def".parse().unwrap());
        assert_eq!(Redactor::of(&request, None).hide("abc.def? abc!"), "REDACTED? abc!");
        assert_eq!(Redactor::of(&request, None).hide("It was abc.de"), "It was REDACTED");
        assert_eq!(Redactor::of(&request, None).hide("It was abc"), "It was abc");

        request.headers_mut().clear();
        *request.body_mut() = Payload::Bytes("a=b&refresh_token=x%2Fyz".into());
        let echo = Redactor::of(&request, Some(&"x/yz".into()));
        assert_eq!(echo.hide("x/yz or x%2Fyz"), "REDACTED or REDACTED");
    }

    #[test]
    fn the_values_of_a_signed_url_are_hidden() {
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
    fn words_are_left_as_they_are() {
        let mut request = Request::new(Payload::Empty);
        for shown in ["Basic dXNlcjo=", "Basic dXNlcjpubw==", "Bearer abc"] {
            request.headers_mut().insert(AUTHORIZATION, shown.parse().unwrap());
            assert_eq!(Redactor::of(&request, None).hide("no abc"), "no abc", "{shown}");
        }
        assert_eq!(Redactor::default().hide("no"), "no");
    }
}

//! Redaction of secrets that a server repeats.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};

use crate::header::url::{MARK, UrlKind, redact_all, secret_values};
use crate::wire::percent;

/// What requests have shown to servers: Authorization headers, and URLs whose queries may hold secrets.
///
/// Servers and proxies in debug mode repeat the request in their response, and parts of responses become
/// parts of errors and events that are displayed. The forms of the secrets are computed only when a text is
/// redacted, so that a request that succeeds costs little.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redactor(Option<Box<Shown>>);

#[derive(Clone, Debug, Default)]
struct Shown {
    headers: VecDeque<HeaderValue>,
    urls: VecDeque<(Uri, UrlKind)>,
}

impl Redactor {
    /// The number of headers, and of URLs, that are remembered. The oldest is dropped.
    const MAX: usize = 16;

    /// The number of values in a query that are recognized. Signed URLs have about ten.
    const MAX_VALUES: usize = 64;

    /// Adds what a request shows.
    pub(crate) fn add(&mut self, authorization: Option<&HeaderValue>, uri: &Uri, kind: UrlKind) {
        if let Some(header) = authorization {
            self.add_header(header);
        }
        if uri.query().is_some() {
            let Shown { urls, .. } = &mut **self.0.get_or_insert_default();
            if urls.len() == Self::MAX {
                urls.pop_front();
            }
            urls.push_back((uri.clone(), kind));
        }
    }

    /// Adds an Authorization header.
    pub(crate) fn add_header(&mut self, header: &HeaderValue) {
        let Shown { headers, .. } = &mut **self.0.get_or_insert_default();
        if headers.contains(header) {
            return;
        }
        if headers.len() == Self::MAX {
            headers.pop_front();
        }
        headers.push_back(header.clone());
    }

    /// Redacts the secrets in a text, also in other forms, in other case or cut off, and the URLs in it.
    pub(crate) fn hide(&self, text: &str) -> String {
        let lower = text.to_ascii_lowercase();
        let forms = self.forms();
        let places = forms.iter().flat_map(|form| places(form, &lower));
        redact_all(&replace(text, places.map(|place| (place, MARK)).collect()))
    }

    /// Returns all forms of the secrets, in lower case.
    fn forms(&self) -> Vec<String> {
        let mut forms = Vec::new();
        let Some(shown) = &self.0 else { return forms };
        for header in &shown.headers {
            let Some((scheme, shown)) = header.to_str().ok().and_then(|text| text.split_once(' ')) else {
                continue;
            };
            push_forms(&mut forms, shown);
            if scheme == "Basic"
                && let Some(login) =
                    STANDARD.decode(shown).ok().and_then(|bytes| String::from_utf8(bytes).ok())
                && let Some((_, password)) = login.split_once(':')
            {
                push_forms(&mut forms, password);
                push_forms(&mut forms, shown.trim_end_matches('='));
            }
        }
        for (uri, kind) in &shown.urls {
            for value in secret_values(uri, *kind).take(Self::MAX_VALUES) {
                push_forms(&mut forms, value);
            }
        }
        forms.sort_unstable();
        forms.dedup();
        forms
    }
}

/// The length in bytes of the shortest form that is redacted. Shorter ones would match ordinary words by chance and are
/// too short to be secrets.
const MIN_LEN: usize = 4;

/// The length of a part of a secret that does not occur by chance.
const PART_LEN: usize = 16;

/// Replaces places in a text. Of places that overlap, the first and longest is replaced, with all of them.
pub(crate) fn replace(text: &str, mut places: Vec<(Range<usize>, &str)>) -> String {
    places.sort_by_key(|(place, _)| (place.start, Reverse(place.end)));
    let (mut replaced, mut at) = (String::with_capacity(text.len()), 0);
    for (Range { start, end }, name) in places {
        if start >= at {
            replaced.push_str(text.get(at..start).unwrap_or_default());
            replaced.push_str(name);
        }
        at = at.max(end);
    }
    replaced.push_str(text.get(at..).unwrap_or_default());
    replaced
}

/// Appends the forms in which texts repeat a secret, in lower case: verbatim, with percent-encoding or
/// without, or escaped.
pub(crate) fn push_forms(forms: &mut Vec<String>, secret: &str) {
    let mut encoded = String::new();
    percent::push_pair(&mut encoded, "", secret);
    let decoded = percent::decode(secret).unwrap_or_default();
    for form in [secret, &decoded, &encoded[1..], &secret.escape_debug().to_string()] {
        if form.len() >= MIN_LEN {
            forms.push(form.to_ascii_lowercase());
        }
    }
}

/// Returns the places of a secret in a text, both in lower case: the whole secret, long parts of it, and its
/// beginning or end where the text is cut off.
pub(crate) fn places(form: &str, text: &str) -> Vec<Range<usize>> {
    // Most secrets do not occur, and there may be many.
    let begins = form.get(..MIN_LEN).is_none_or(|begin| text.contains(begin));
    if !begins && form.len() <= PART_LEN && !text.contains("... ") {
        return Vec::new();
    }
    let mut places: Vec<_> = text.match_indices(form).map(|(at, _)| at..at + form.len()).collect();
    let (secret, bytes) = (form.as_bytes(), text.as_bytes());
    if secret.len() > PART_LEN {
        let starts = (0..=secret.len() - PART_LEN).step_by(PART_LEN).chain([secret.len() - PART_LEN]);
        for start in starts {
            let Some(part) = form.get(start..start + PART_LEN) else { continue };
            for (at, _) in text.match_indices(part) {
                let before = common(secret[..start].iter().rev(), bytes[..at].iter().rev());
                let after = common(secret[start..].iter(), bytes[at..].iter());
                places.push(at - before..at + after);
            }
        }
    }
    // Excerpts are cut off with dots; a longer message loses its middle.
    let cuts = text.match_indices("...").map(|(at, _)| at).chain([text.len()]);
    for cut in cuts {
        let lengths = (MIN_LEN..secret.len().min(cut + 1)).rev();
        if let Some(length) = lengths.into_iter().find(|length| bytes[..cut].ends_with(&secret[..*length])) {
            places.push(cut - length..cut);
        }
    }
    for (at, dots) in text.match_indices("... ") {
        let rest = &bytes[at + dots.len()..];
        let lengths = (MIN_LEN..secret.len().min(rest.len() + 1)).rev();
        let start = at + dots.len();
        if let Some(length) =
            lengths.into_iter().find(|length| rest.starts_with(&secret[secret.len() - length..]))
        {
            places.push(start..start + length);
        }
    }
    for place in &mut places {
        // A part may begin or end within a character.
        while !text.is_char_boundary(place.start) {
            place.start -= 1;
        }
        while !text.is_char_boundary(place.end) {
            place.end += 1;
        }
    }
    places
}

/// Returns the number of equal bytes at the start of both.
fn common<'a>(a: impl Iterator<Item = &'a u8>, b: impl Iterator<Item = &'a u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_header(value: &str) -> Redactor {
        let mut redactor = Redactor::default();
        redactor.add_header(&value.parse().unwrap());
        redactor
    }

    #[track_caller]
    fn check(redactor: &Redactor, cases: &[(&str, &str)]) {
        for (said, shown) in cases {
            assert_eq!(redactor.hide(said), *shown, "{said}");
        }
    }

    #[test]
    fn a_secret_is_redacted_in_every_form_that_the_server_saw() {
        let said = "Authorization: Basic dXNlcjpodW50ZXIy is user:hunter2, or application/vnd.HUNTER2";
        let shown = "Authorization: Basic REDACTED is user:REDACTED, or application/vnd.REDACTED";
        check(&of_header("Basic dXNlcjpodW50ZXIy"), &[(said, shown)]);
        check(
            &of_header("Bearer abc.def"),
            &[
                ("abc.def? abc!", "REDACTED? abc!"),
                ("It was abc.de", "It was REDACTED"),
                ("`It was abc.d...`", "`It was REDACTED...`"),
                ("It... c.def was", "It... REDACTED was"),
                ("It was abc", "It was abc"),
                ("abc.defabc.def", "REDACTEDREDACTED"),
            ],
        );
        // The password is x/y"z.
        check(
            &of_header("Basic dTp4L3kieg=="),
            &[(r#"x/y"z, x/y%22z or x/y\"z of dTp4L3kieg"#, "REDACTED, REDACTED or REDACTED of REDACTED")],
        );
    }

    #[test]
    fn long_parts_of_a_secret_are_redacted() {
        let token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIHZlcnkgbG9uZyBuYW1lIiwiaWF0IjoxNTE2MjM5MDIyfQ.";
        let redactor = of_header(&format!("Bearer {token}"));
        for part in [&token[..16], &token[token.len() - 16..], &token[3..40], &token[..70]] {
            check(&redactor, &[(&format!("a {part}\u{e9}"), "a REDACTED\u{e9}")]);
        }
        check(&redactor, &[("eyJhbGciOiJub25", "REDACTED"), ("eyJhbGciOiJub25!", "eyJhbGciOiJub25!")]);
        // The secret ends with the first byte of the character that follows its part.
        let mut redactor = Redactor::default();
        redactor.add(None, &"https://h/?a=0123456789abcdef%C3%A9".parse().unwrap(), UrlKind::Other);
        check(&redactor, &[("0123456789abcdef\u{e8}", "REDACTED"), ("\u{e8}", "\u{e8}")]);
    }

    #[test]
    fn the_query_values_of_a_signed_url_are_redacted() {
        for (uri, said, hidden) in [
            ("https://h/a?sig=x%2Fyz%3d&e=300", "x%2Fyz%3d is x/yz= for 300", "REDACTED is REDACTED for 300"),
            ("https://h/a?signature", "no signature", "no REDACTED"),
            ("https://h/a?a=twice&b=twicetwice", "twicetwice, twice", "REDACTED, REDACTED"),
            ("https://h/a?a=one;two&service=name", "one;two of name", "REDACTED of REDACTED"),
        ] {
            let mut redactor = Redactor::default();
            redactor.add(None, &uri.parse().unwrap(), UrlKind::Other);
            check(&redactor, &[(said, hidden)]);
        }
        let mut redactor = Redactor::default();
        let uri = "https://h/t?scope=repository:a:pull&service=host&k=value".parse().unwrap();
        redactor.add(None, &uri, UrlKind::TokenRequest);
        check(&redactor, &[("host: repository:a:pull, value", "host: repository:a:pull, REDACTED")]);
    }

    #[test]
    fn short_values_are_not_redacted() {
        for shown in ["Basic dXNlcjo=", "Basic dXNlcjpubw==", "Bearer abc"] {
            check(&of_header(shown), &[("no abc", "no abc")]);
        }
        check(&Redactor::default(), &[("no", "no"), ("", "")]);
    }

    #[test]
    fn the_newest_secrets_are_remembered() {
        let mut redactor = Redactor::default();
        for number in 1000..1100 {
            let uri = format!("https://h/?a=signature-{number}").parse().unwrap();
            let header = format!("Bearer token-{number}").parse().unwrap();
            redactor.add(Some(&header), &uri, UrlKind::Other);
            redactor.add_header(&header);
        }
        check(&redactor, &[("signature-1099, token-1099", "REDACTED, REDACTED")]);
        let shown = redactor.0.unwrap();
        assert_eq!((shown.headers.len(), shown.urls.len()), (Redactor::MAX, Redactor::MAX));
    }
}

//! The inputs of a session, with names in place of secrets.
//!
//! A session must treat the result like the original. An unusable value must stay unusable for the same
//! reason.

use std::mem;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, LINK, LOCATION, RANGE,
    RETRY_AFTER, WARNING, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde_json::Value;

use crate::auth::credentials::Credentials;
use crate::error::fault::Fault;
use crate::header::challenge::Challenge;
use crate::header::link::Link;
use crate::header::url::UrlKind;
use crate::header::warning::Warning;
use crate::record::secrets::Secrets;
use crate::record::unusable::{header_value, masked_challenges, masked_links, masked_url, masked_value};
use crate::types::digest::Digest;
use crate::types::secret::Secret;
use crate::types::token;
use crate::wire::exchange::transcript::{RecordedBody, Transcript};

/// The headers that a session reads and that contain no secret. Any other header may contain one.
const KEPT: [HeaderName; 10] = [
    CONTENT_LENGTH,
    CONTENT_TYPE,
    CONTENT_RANGE,
    DATE,
    // A condition of a later request repeats it.
    ETAG,
    RANGE,
    RETRY_AFTER,
    HeaderName::from_static("oci-chunk-min-length"),
    HeaderName::from_static("oci-filters-applied"),
    HeaderName::from_static("oci-tag"),
];

/// The headers with a digest.
const DIGESTS: [HeaderName; 2] =
    [HeaderName::from_static("docker-content-digest"), HeaderName::from_static("oci-subject")];

impl Secrets {
    /// Returns credentials with a name in place of the password or the token.
    pub fn credentials(&mut self, credentials: &Credentials) -> Credentials {
        match credentials {
            Credentials::Basic { username, password } => {
                let name = self.name(password.reveal());
                self.add_basic(username, password.reveal(), &name);
                Credentials::Basic { username: username.clone(), password: name.into() }
            }
            Credentials::Identity(token) => {
                let name = self.name(token.reveal());
                self.add_basic(Credentials::IDENTITY_USER, token.reveal(), &name);
                Credentials::Identity(name.into())
            }
            Credentials::Bearer(token) => {
                let mut name = self.name(token.reveal());
                // A token that is invalid in a header is replaced with an invalid one.
                if HeaderValue::from_str(token.reveal()).is_err() {
                    name.push('\n');
                }
                Credentials::Bearer(Secret::from(name))
            }
        }
    }

    /// Adds the form of a password in a Basic header, which texts may repeat.
    pub(super) fn add_basic(&mut self, username: &str, password: &str, name: &str) {
        self.add_form(&STANDARD.encode(format!("{username}:{password}")), name);
    }

    /// Returns a transcript with names in place of secrets, and without the headers that no session reads.
    ///
    /// Documents and blobs are not changed.
    pub fn transcript(&mut self, transcript: &Transcript) -> Transcript {
        let mut replaced = transcript.clone();
        if let Some((_, headers)) = &mut replaced.head {
            let unknown = Uri::from_static("https://unknown.invalid/");
            *headers = self.headers(replaced.url.as_deref().unwrap_or(&unknown), headers);
        }
        replaced.url = None;
        match &mut replaced.body {
            RecordedBody::Refusal(body) => *body = self.refusal(body),
            RecordedBody::Token(body) => *body = token::rewrite(body, |secret| self.name(secret)).into(),
            RecordedBody::Unread | RecordedBody::Document(_) | RecordedBody::Blob { .. } => {}
        }
        replaced.fault = transcript.fault.as_ref().map(|fault| self.fault(fault));
        replaced
    }

    /// Returns a fault with names in place of the known secrets.
    pub fn fault(&self, fault: &Fault) -> Fault {
        Fault::new(fault.kind(), self.text(fault.message()))
    }

    /// Returns the headers of a response from `from`.
    fn headers(&mut self, from: &Uri, headers: &HeaderMap) -> HeaderMap {
        // Other headers may repeat the secrets in these, and paths too: how they are shown is decided afterwards.
        let paths = mem::take(&mut self.paths);
        headers.get_all(LINK).iter().for_each(|value| drop(self.links(from, value)));
        headers.get_all(LOCATION).iter().for_each(|value| drop(self.location(from, value)));
        headers.get_all(WWW_AUTHENTICATE).iter().for_each(|value| drop(self.challenges(from, value)));
        self.paths = paths;
        let mut replaced = HeaderMap::new();
        for (name, value) in headers {
            let values = match name {
                name if KEPT.contains(name) => vec![value.clone()],
                name if *name == CONTENT_ENCODING => vec![self.text_value(value)],
                name if DIGESTS.contains(name) => self.digest(value).into_iter().collect(),
                name if *name == LINK => vec![self.links(from, value)],
                name if *name == LOCATION => vec![self.location(from, value)],
                name if *name == WWW_AUTHENTICATE => vec![self.challenges(from, value)],
                name if *name == WARNING => self.warnings(value),
                _ => Vec::new(),
            };
            for value in values {
                replaced.append(name, value);
            }
        }
        replaced
    }

    fn text_value(&self, value: &HeaderValue) -> HeaderValue {
        let replaced = value.to_str().map(|text| self.text(text)).ok();
        replaced.and_then(|text| text.parse().ok()).unwrap_or_else(|| value.clone())
    }

    /// Returns a digest that can be verified unchanged, and none that the session ignores.
    fn digest(&self, value: &HeaderValue) -> Option<HeaderValue> {
        match value.to_str().map(|text| text.trim().parse::<Digest>()) {
            Ok(Ok(digest)) => digest.algorithm().is_some().then(|| value.clone()),
            _ => Some(self.text_value(value)),
        }
    }

    fn location(&mut self, from: &Uri, value: &HeaderValue) -> HeaderValue {
        match value.to_str() {
            Ok(text) => header_value(&self.url(from, text, UrlKind::Other), value),
            Err(_) => masked_value(value, masked_url),
        }
    }

    /// Returns links with names in place of the values of their queries. A value that is not valid is not shown,
    /// and stays invalid at the same byte.
    fn links(&mut self, from: &Uri, value: &HeaderValue) -> HeaderValue {
        let Ok(links) = Link::parse(value.as_bytes()) else { return masked_value(value, masked_links) };
        let replaced = links.into_iter().map(|link| {
            let target = self.url(from, link.target(), UrlKind::Other);
            link.with_target(target).to_string()
        });
        let text = replaced.collect::<Vec<_>>().join(", ");
        HeaderValue::from_bytes(text.as_bytes()).unwrap_or_else(|_| masked_value(value, masked_links))
    }

    fn challenges(&mut self, from: &Uri, value: &HeaderValue) -> HeaderValue {
        let (challenges, fault) = Challenge::parse_all([value.as_bytes()]);
        // A fault is reported only if the challenges before it are useless.
        let is_useful = |challenge: &Challenge| {
            challenge.is("basic") || challenge.is("bearer") && challenge.param("realm").is_some()
        };
        if fault.is_some() && !challenges.iter().any(is_useful) {
            return masked_value(value, masked_challenges);
        }
        let replaced = challenges.iter().cloned().map(|challenge| {
            let has_url = challenge.is("bearer");
            challenge.map(|name, value| match name {
                None => self.name(value),
                Some("realm") if has_url => self.url(from, value, UrlKind::TokenRequest),
                // Requests repeat these values.
                Some("service" | "scope") => value.to_owned(),
                Some(_) => self.text(value),
            })
        });
        let replaced: Vec<Challenge> = replaced.collect();
        if replaced == challenges && fault.is_none() {
            return value.clone();
        }
        let text = replaced.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        header_value(&text, value)
    }

    /// Returns one value per warning, since the combined value may become too long.
    fn warnings(&self, value: &HeaderValue) -> Vec<HeaderValue> {
        let warnings = Warning::parse(value.as_bytes()).unwrap_or_default();
        let replaced = warnings.into_iter().map(|warning| warning.map(|text| self.text(text)).to_string());
        replaced.filter_map(|text| HeaderValue::from_bytes(text.as_bytes()).ok()).collect()
    }

    /// Returns the body of an error response, which parses to the same codes and messages.
    fn refusal(&self, body: &Bytes) -> Bytes {
        // A body that is not text is not parsed.
        let Ok(text) = std::str::from_utf8(body) else { return Bytes::new() };
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            let trimmed = text.trim_end();
            return format!("{}{}", self.text(trimmed), &text[trimmed.len()..]).into();
        };
        let replaced = self.json(value.clone());
        if replaced == value { body.clone() } else { replaced.to_string().into() }
    }

    fn json(&self, value: Value) -> Value {
        /// The keys that are read in the body of an error response.
        const KEYS: [&str; 6] = ["errors", "code", "message", "error_description", "details", "error"];
        match value {
            Value::String(text) => self.text(&text).into(),
            Value::Array(values) => values.into_iter().map(|value| self.json(value)).collect(),
            Value::Object(object) => {
                let named = |key: String| if KEYS.contains(&key.as_str()) { key } else { self.text(&key) };
                object.into_iter().map(|(key, value)| (named(key), self.json(value))).collect()
            }
            // Numbers are not read.
            Value::Number(number) if self.text(&number.to_string()) != number.to_string() => Value::Null,
            Value::Number(_) | Value::Null | Value::Bool(_) => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::credentials;
    use crate::error::{Error, Responder};
    use crate::header::location::resolve;
    use crate::types::secret::Secret;
    use crate::wire::error_body;
    use crate::wire::redact::Redactor;
    use http::StatusCode;

    fn header(secrets: &mut Secrets, name: HeaderName, value: &[u8]) -> String {
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_bytes(value).unwrap())]);
        let replaced = secrets.headers(&Uri::from_static("https://h/v2/"), &headers);
        let shown = replaced.values().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        shown.collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn a_location_keeps_everything_but_secrets() {
        let mut secrets = Secrets::new();
        for (value, shown) in [
            ("/v2/a/blobs/x", "/v2/a/blobs/x"),
            ("https://h/a?sig=s3cret&scope=x;e=9", "https://h/a?sig=SECRET-1&scope=SECRET-2;e=SECRET-3"),
            ("?s3cret", "?SECRET-1"),
            ("../a?a=&b=s3cret#s3cret", "../a?a=&b=SECRET-1"),
            ("https://h/a@b", "https://h/a@b"),
        ] {
            assert_eq!(header(&mut secrets, LOCATION, value.as_bytes()), shown);
        }
    }

    #[test]
    fn links_keep_everything_but_secrets() {
        let mut secrets = Secrets::new();
        for (value, shown) in [
            (
                r#"</v2/a/tags/list?last=s3cret&n=2>; rel="next""#,
                r#"</v2/a/tags/list?last=SECRET-1&n=SECRET-2>; rel="next""#,
            ),
            (
                r#"<?a=b>; rel=prev; title="s3cret", </c>; rel=next"#,
                r#"<?a=SECRET-3>; rel="prev", </c>; rel="next""#,
            ),
            ("", ""),
        ] {
            assert_eq!(header(&mut secrets, LINK, value.as_bytes()), shown);
        }
        for value in ["</v2/?a=s3cret; rel=next", "</a?s3cret>; rel=next, s3cret", "/a?s3cret"] {
            let shown = header(&mut secrets, LINK, value.as_bytes());
            assert!(!shown.contains("s3cret"), "{shown}");
            assert_eq!(Link::parse(shown.as_bytes()), Link::parse(value.as_bytes()));
        }
    }

    #[test]
    fn headers_of_uploads_are_kept() {
        let mut secrets = Secrets::new();
        for (name, value) in [
            ("range", "0-99"),
            ("range", "0--1"),
            ("oci-chunk-min-length", "5242880"),
            ("oci-tag", "a, b"),
            ("oci-filters-applied", "artifactType"),
            ("etag", "\"abc\""),
        ] {
            assert_eq!(header(&mut secrets, name.parse().unwrap(), value.as_bytes()), value, "{name}");
        }
    }

    #[test]
    fn an_unusable_header_stays_unusable_for_the_same_reason() {
        let base = Uri::from_static("https://h/");
        let long = format!("https://h/?a={}", "s3cret".repeat(3000));
        for value in [
            &b"https://h/?a=s3cret b"[..],
            b"https://h/?a=s3cret<b",
            b"https://h/?a=s3cret\\b",
            b"https://h/?a=s3cret\xffb",
            b"https://user:s3cret@h/a",
            b"https://user:s3@s3cret@h/a",
            b"https://user:s3/s3cret@h/ a",
            b"https://user@h/#t=s3cret",
            b"https://h/ #t=s3cret",
            b"ftp://h/?s3cret",
            b"https:?s3cret",
            long.as_bytes(),
        ] {
            let shown = header(&mut Secrets::new(), LOCATION, value);
            assert!(!shown.contains("s3cret"), "{shown:.100}");
            let error = resolve(&base, value).expect_err("the value is unusable");
            // Bytes that are not text are shown replaced.
            assert_eq!(resolve(&base, shown.as_bytes()), Err(error), "{shown:.100}");
        }
        for value in [
            &br#"Bearer realm="https://h/?s3cret" x"#[..],
            br#"Bearer realm="https://h/?s3cret=s3cret"#,
            br#"Bearer realm="s3cret \" s3cret" x"#,
            b"Negotiate s3cret== x",
            b"Negotiate s3cret x=y",
            br#"Digest realm="a", Negotiate s3cret/s3cret=,,x=s3cret"#,
            b"Digest a=b, a=s3cret",
            b"Digest a = s3cret b",
        ] {
            let shown = header(&mut Secrets::new(), WWW_AUTHENTICATE, value);
            assert!(!shown.contains("s3cret"), "{shown}");
            assert_eq!(Challenge::parse(shown.as_bytes()), Challenge::parse(value));
        }
    }

    #[test]
    fn challenges_before_a_fault_are_kept() {
        for (value, kept) in [
            ("Basic realm=/s3cret", "basic"),
            (
                "Bearer realm=\"https://h/t?a=s3cret\",scope=\"x\",y=s3cret=",
                "bearer realm=\"https://h/t?a=SECRET-1\", scope=\"x\"",
            ),
            ("Negotiate s3cret=, Basic x y", "negotiate SECRET-1, basic"),
        ] {
            assert_eq!(header(&mut Secrets::new(), WWW_AUTHENTICATE, value.as_bytes()), kept);
        }
    }

    #[test]
    fn challenges_and_warnings_keep_their_meaning() {
        let mut secrets = Secrets::new();
        for (name, value, shown) in [
            (WWW_AUTHENTICATE, r#"Basic realm="a, b?""#, r#"Basic realm="a, b?""#),
            (
                WWW_AUTHENTICATE,
                r#"Bearer realm="https:\//h/t?k=s3\cret",service="s",x=y, Negotiate YWJjZA=="#,
                r#"bearer realm="https://h/t?k=SECRET-1", service="s", x="y" | negotiate SECRET-2"#,
            ),
            (
                WARNING,
                r#"299 - "a \"s3cret\"", 110 - "s3cret", 299 - "b""#,
                r#"299 - "a \"SECRET-1\"" | 299 - "b""#,
            ),
            (WARNING, "s3cret", ""),
            (http::header::SET_COOKIE, "a=s3cret", ""),
        ] {
            let shown = shown.replace(" | negotiate", ", negotiate");
            assert_eq!(header(&mut secrets, name, value.as_bytes()), shown);
        }
    }

    #[test]
    fn an_error_body_parses_to_the_same_errors() {
        let password = r#"s3/cr"et"#;
        let asked = |password: &str| {
            let mut redactor = Redactor::default();
            redactor.add_header(&credentials::basic("user", &password.into()).unwrap());
            redactor
        };
        let read = |body: &[u8], redactor: &Redactor| {
            let headers = HeaderMap::new();
            let by = Responder::Registry;
            let refusal = error_body::refusal(StatusCode::NOT_FOUND, by, &headers, body, 9);
            let method = http::Method::GET;
            Error::of_request(&method, String::new(), 0, refusal)
                .map_texts(|_, text| redactor.forms().hide(text))
                .to_string()
        };
        let basic = STANDARD.encode(format!("user:{password}"));
        for body in [
            String::new(),
            format!("no {password} here\n"),
            "it breaks off at s3/c \n".to_owned(),
            format!(
                r#"{{"errors":[{{"code":"A","message":"s3\/cr\"et, {basic}"}},{{"code":"s3/cr\"et"}}]}}"#
            ),
            r#"{"s3/cr\"et":1,"message":"s3\/c"}"#.to_owned(),
            r#""s3\u002fcr\"et""#.to_owned(),
            r#"{"message":"s3\u002fcr\"et"#.to_owned(),
            "<html>".to_owned(),
        ] {
            let mut secrets = Secrets::new();
            let login = Credentials::Basic { username: "user".into(), password: Secret::from(password) };
            let _ = secrets.credentials(&login);
            let replaced = secrets.refusal(&Bytes::from(body.clone()));
            assert_eq!(
                read(&replaced, &asked("SECRET-1")),
                read(body.as_bytes(), &asked(password)),
                "{body}"
            );
            let shown = String::from_utf8(replaced.into()).unwrap();
            assert!(!shown.contains(password) && !shown.contains(&basic), "{shown}");
        }
        assert_eq!(Secrets::new().refusal(&Bytes::from_static(b"\xff s3cret")), "");
    }

    #[test]
    fn headers_that_repeat_a_secret_have_its_name() {
        let mut secrets = Secrets::new();
        let _ = secrets.name("s3cret");
        let sha256 = format!("sha256:{}", "0".repeat(64));
        for (name, value, shown) in [
            (CONTENT_ENCODING, "S3CRET", "SECRET-1"),
            (DIGESTS[0].clone(), "no s3cret", "no SECRET-1"),
            (DIGESTS[0].clone(), "s3cret:0", ""),
            (DIGESTS[0].clone(), &sha256, &sha256),
            (DIGESTS[1].clone(), &sha256, &sha256),
        ] {
            assert_eq!(header(&mut secrets, name, value.as_bytes()), shown);
        }
    }

    #[test]
    fn known_secrets_in_paths_and_realms_have_their_names() {
        let mut secrets = Secrets::new();
        let _ = secrets.name("s3cret");
        for (name, value, shown) in [
            (LOCATION, "https://h/a/s3cret/b", "https://h/a/SECRET-1/b"),
            (LOCATION, "//h/S3CRET?a=b", "//h/SECRET-1?a=SECRET-2"),
            (LOCATION, "/a//s3cret", "/a//SECRET-1"),
            (LOCATION, "/s3cret b", "/xxxxxx b"),
            (LOCATION, "/proxy/https://s3cret/b", "/proxy/https://SECRET-1/b"),
            (LOCATION, "s3cret/b", "/v2/SECRET-1/b"),
            (LOCATION, "/s3cret/../b", "/b"),
            (LOCATION, "/.//s3cret", "/.//SECRET-1"),
            (LINK, "</s3cret>; rel=\"next\"", "</SECRET-1>; rel=\"next\""),
            (WWW_AUTHENTICATE, r#"Basic realm="s3cret""#, r#"basic realm="SECRET-1""#),
            (WWW_AUTHENTICATE, r#"Bearer realm="https://h/s3cret""#, r#"bearer realm="https://h/SECRET-1""#),
        ] {
            assert_eq!(header(&mut secrets, name, value.as_bytes()), shown);
        }
        // A server may take a semicolon as a part of the value.
        assert_eq!(header(&mut secrets, LOCATION, b"/?a=b;c=long"), "/?a=SECRET-2;c=SECRET-3");
        assert_eq!(secrets.text("b;c=long"), "SECRET-2;c=SECRET-3");
    }

    #[test]
    fn an_invalid_bearer_token_stays_invalid() {
        for (token, is_fit) in [("s3cret", true), ("s3cret\n", false)] {
            let replaced = Secrets::new().credentials(&Credentials::Bearer(token.into()));
            let Credentials::Bearer(name) = replaced else { panic!("{replaced:?}") };
            assert_eq!(HeaderValue::from_str(name.reveal()).is_ok(), is_fit);
            assert!(name.reveal().starts_with("SECRET-1"));
        }
    }
}

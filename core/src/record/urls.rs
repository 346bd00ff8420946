//! URLs that a server supplies, with names in place of secrets.

use http::Uri;

use crate::header::location::resolve;
use crate::header::url::{UrlKind, longer_values, map_secret_values};
use crate::record::secrets::Secrets;
use crate::record::unusable::masked_url;

impl Secrets {
    /// Returns an absolute or relative URL in a response from `from`, with names in place of the secrets that are known
    /// in its path, and of the values of its query.
    pub(super) fn url(&mut self, from: &Uri, text: &str, kind: UrlKind) -> String {
        let Ok(resolved) = resolve(from, text.as_bytes()) else {
            return String::from_utf8_lossy(&masked_url(self.masked(text).as_bytes())).into_owned();
        };
        let (reference, query) = split(text);
        let reference = self.reference(from, reference, resolved.path());
        match query {
            Some(query) => format!("{reference}?{}", self.query(query, kind)),
            None => reference,
        }
    }

    /// Returns the path of a URL that a server supplied as it was shown when it arrived. The path of any other URL, such
    /// as one in a document, is not changed.
    pub(super) fn shown_path<'a>(&'a self, path: &'a str) -> &'a str {
        self.paths.get(path).map_or(path, String::as_str)
    }

    /// Returns a URL's query with names in place of its values.
    pub(super) fn query(&mut self, query: &str, kind: UrlKind) -> String {
        let replaced = map_secret_values(query, kind, |value| self.name(value));
        for (value, shown) in longer_values(query, kind).zip(longer_values(&replaced, kind)) {
            self.add_form(value, shown);
        }
        replaced
    }

    /// Returns a URL without a query, which resolves to this path, so that it resolves to the shown path.
    fn reference(&mut self, from: &Uri, reference: &str, path: &str) -> String {
        let shown = self.decided_path(path);
        let is_kept = shown == path && self.shown_path(from.path()) == from.path();
        // Dot segments may remove a secret from the path.
        if is_kept && self.text(reference) == reference {
            return reference.to_owned();
        }
        let origin = origin(reference.trim_ascii());
        // Without an origin, two slashes would begin one.
        let dot = if origin.is_empty() && shown.starts_with("//") { "/." } else { "" };
        format!("{origin}{dot}{shown}")
    }

    /// Decides how a path is shown, if it has not arrived before.
    fn decided_path(&mut self, path: &str) -> String {
        if let Some(shown) = self.paths.get(path) {
            return shown.clone();
        }
        let shown = self.text(path);
        self.paths.insert(path.to_owned(), shown.clone());
        shown
    }
}

/// Splits a URL into its beginning and its query. The fragment is dropped.
fn split(url: &str) -> (&str, Option<&str>) {
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    url.split_once('?').map_or((url, None), |(beginning, query)| (beginning, Some(query)))
}

/// Returns the scheme and the authority of a valid reference, as far as it has them. Two slashes after another one are
/// part of the path.
fn origin(reference: &str) -> &str {
    let is_start = |before: &str| !before.contains('/') && (before.is_empty() || before.ends_with(':'));
    let host = reference.find("//").filter(|at| is_start(&reference[..*at])).map(|at| at + 2);
    let end = host.map(|host| reference[host..].find('/').map_or(reference.len(), |path| host + path));
    &reference[..end.unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_path_is_shown_is_decided_when_it_arrives() {
        let mut secrets = Secrets::new();
        let from = Uri::from_static("https://h/v2/a/blobs/uploads/");
        let url = |secrets: &mut Secrets, text: &str| secrets.url(&from, text, UrlKind::Other);
        assert_eq!(url(&mut secrets, "https://auth/token?a="), "https://auth/token?a=");
        assert_eq!(url(&mut secrets, "s3cret/1"), "s3cret/1");
        for secret in ["token-1", "s3cret"] {
            let _ = secrets.name(secret);
        }
        // The same paths arrive again, in other forms, and with others.
        for (text, shown) in [
            ("/token", "/token"),
            ("s3cret/1", "/v2/a/blobs/uploads/s3cret/1"),
            ("./s3cret/2", "/v2/a/blobs/uploads/SECRET-2/2"),
            ("/v2/a/blobs/uploads/s3cret/2", "/v2/a/blobs/uploads/SECRET-2/2"),
            ("1", "1"),
        ] {
            assert_eq!(url(&mut secrets, text), shown);
        }
        for (path, shown) in [
            ("/token", "/token"),
            ("/v2/a/blobs/uploads/s3cret/1", "/v2/a/blobs/uploads/s3cret/1"),
            ("/v2/a/blobs/uploads/s3cret/2", "/v2/a/blobs/uploads/SECRET-2/2"),
            ("/s3cret", "/s3cret"),
        ] {
            assert_eq!(secrets.shown_path(path), shown);
        }
    }

    #[test]
    fn a_url_that_is_relative_to_a_shown_path_resolves_to_one() {
        let mut secrets = Secrets::new();
        let _ = secrets.name("s3cret");
        let registry = Uri::from_static("https://h/v2/");
        for text in ["/u/s3cret/1", "/u/s3cret/1?a=b", "//h/u/s3cret/1", "../u/s3cret/1", "/x/../u/s3cret/1"]
        {
            let shown = secrets.url(&registry, text, UrlKind::Other);
            assert_eq!(resolve(&registry, shown.as_bytes()).unwrap().path(), "/u/SECRET-1/1", "{text}");
        }
        let from = Uri::from_static("https://h/u/s3cret/1");
        let replayed = Uri::from_static("https://h/u/SECRET-1/1");
        for (text, path) in
            [("2", "/u/SECRET-1/2"), ("../3", "/u/3"), ("?a=b", "/u/SECRET-1/1"), ("/4", "/4")]
        {
            let shown = secrets.url(&from, text, UrlKind::Other);
            assert_eq!(resolve(&replayed, shown.as_bytes()).unwrap().path(), path, "{text}");
            assert_eq!(secrets.shown_path(resolve(&from, text.as_bytes()).unwrap().path()), path, "{text}");
        }
    }
}

//! The origins to which requests and credentials may be sent. The manual has a table of
//! [permitted destinations](crate#permitted-destinations).
//!
//! An origin is a scheme, a host and a port (RFC 6454, section 4). Another port of the registry's host
//! is a different origin, and so is a mirror.

use std::sync::Arc;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Uri};

use crate::config::PlainHttp;
use crate::error::Misbehaviour;
use crate::header::location::resolve;
use crate::header::url::redacted;
use crate::types::reference::registry::Registry;
use crate::wire::endpoint::Endpoint;

/// A scheme, a host and a port. Connections and trust are bound to an origin.
///
/// Source: RFC 6454, section 4.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    scheme: &'static str,
    host: Arc<str>,
    port: u16,
}

impl Origin {
    /// Returns the origin of a registry's API, and the base of its URLs.
    pub(crate) fn of_registry(registry: &Registry, plain_http: PlainHttp) -> (Self, Base) {
        let scheme = if plain_http.allows(registry.api_host()) { Scheme::HTTP } else { Scheme::HTTPS };
        let base = Base { scheme, authority: registry.api_authority() };
        (Self::of_parts(&base.scheme, &base.authority), base)
    }

    /// Returns the origin of an absolute URL, or `None` for a relative one.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        Some(Self::of_parts(uri.scheme()?, uri.authority()?))
    }

    fn of_parts(scheme: &Scheme, authority: &Authority) -> Self {
        let plain = *scheme == Scheme::HTTP;
        Self {
            scheme: if plain { "http" } else { "https" },
            host: authority.host().to_ascii_lowercase().into(),
            port: authority.port_u16().unwrap_or(if plain { 80 } else { 443 }),
        }
    }

    fn is_plain(&self) -> bool {
        self.scheme == "http"
    }
}

/// The scheme and authority of a registry's URLs.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    scheme: Scheme,
    authority: Authority,
}

impl Base {
    /// Returns the URL of an endpoint.
    pub(crate) fn uri(&self, endpoint: &Endpoint) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = PathAndQuery::try_from(endpoint.path_and_query()).ok();
        // Names are short, and consist of URL characters or are percent-encoded.
        Uri::from_parts(parts).expect("a scheme, an authority and a path of validated names form a URL")
    }
}

/// Returns the target of a redirect, if it may be followed.
///
/// Source: RFC 9110, section 10.2.2.
pub(crate) fn redirect(from: &Uri, headers: &HeaderMap, plain_http: PlainHttp) -> Result<Uri, Misbehaviour> {
    let location = headers.get("location").ok_or_else(|| unusable("Location", &"it is missing"))?;
    let to = resolve(from, location.as_bytes())?;
    if to.scheme() == Some(&Scheme::HTTP) {
        if from.scheme() != Some(&Scheme::HTTP) {
            return Err(unusable("Location", &format_args!("it redirects from https to {}", redacted(&to))));
        }
        if !plain_http.allows(to.host().unwrap_or_default()) {
            let problem = format_args!("it redirects to plain http, which is not allowed: {}", redacted(&to));
            return Err(unusable("Location", &problem));
        }
    }
    Ok(to)
}

/// Returns the target of a token request's redirect, if it may be followed. It must stay on the same
/// origin, since the request's credentials are for that server only.
pub(crate) fn token_redirect(
    from: &Uri,
    headers: &HeaderMap,
    plain_http: PlainHttp,
) -> Result<Uri, Misbehaviour> {
    let to = redirect(from, headers, plain_http)?;
    if Origin::of(from) != Origin::of(&to) {
        let problem = format_args!("it redirects a token request to another server: {}", redacted(&to));
        return Err(unusable("Location", &problem));
    }
    Ok(to)
}

/// Returns the URL of the token server in a registry's challenge, if requests to it are allowed.
///
/// Source: Docker's token authentication page; RFC 6750, section 5.3.
pub(crate) fn realm(registry: &Origin, text: &str, plain_http: PlainHttp) -> Result<Uri, Misbehaviour> {
    checked_url(registry, text, plain_http)
        .map_err(|why| unusable("WWW-Authenticate", &format_args!("its realm {why}")))
}

/// Returns the URL of content outside of its registry, as given in a document, if requests to it are
/// allowed.
///
/// Source: image-spec, descriptor.md, `urls`.
pub(crate) fn elsewhere(registry: &Origin, text: &str, plain_http: PlainHttp) -> Result<Uri, Misbehaviour> {
    checked_url(registry, text, plain_http).map_err(|why| Misbehaviour::Url { why })
}

/// Parses a URL from a registry or a document. It must be absolute, and its transport no weaker than
/// the registry's.
fn checked_url(registry: &Origin, text: &str, plain_http: PlainHttp) -> Result<Uri, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "is not a URL")?;
    let scheme = uri.scheme_str().ok_or("is not an absolute URL")?;
    // Like a redirect's target, it must not have an empty host, a user name or an invalid port.
    let uri = resolve(&uri, text.as_bytes()).map_err(|_| "is not a valid http or https URL")?;
    match scheme {
        "https" => Ok(uri),
        "http" if !registry.is_plain() => Err("is plain http, but the registry uses https"),
        "http" if plain_http.allows(uri.host().unwrap_or_default()) => Ok(uri),
        "http" => Err("is plain http, which is not allowed"),
        _ => Err("is neither https nor http"),
    }
}

/// Returns whether a request of an operation on `registry` may send credentials to `target`.
pub(crate) fn may_authorize(registry: &Origin, target: &Origin) -> bool {
    registry == target
}

fn unusable(name: &'static str, problem: &impl ToString) -> Misbehaviour {
    Misbehaviour::Header { name, problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(uri: &str) -> Origin {
        Origin::of(&uri.parse().unwrap()).unwrap()
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://H.example/a"), origin("https://h.example:443/b"));
        for other in
            ["http://h.example", "https://h.example:444", "https://g.example", "https://sub.h.example"]
        {
            assert!(!may_authorize(&origin("https://h.example"), &origin(other)), "{other}");
        }
    }

    #[test]
    fn a_realm_is_no_weaker_than_its_registry() {
        use PlainHttp::{Always, Loopback};
        let secure = origin("https://r.example");
        let (plain, local) = (origin("http://r.example"), origin("http://localhost:5000"));
        for (registry, plain_http, text, allowed) in [
            (&secure, Always, "https://auth.example/token?a=b", true),
            (&secure, Always, "http://auth.example/token", false),
            (&secure, Always, "http://r.example/token", false),
            (&secure, Loopback, "http://localhost/token", false),
            (&plain, Always, "http://auth.example/token", true),
            (&plain, Always, "https://auth.example/token", true),
            (&local, Loopback, "https://auth.example/token", true),
            (&local, Loopback, "http://127.0.0.1:5001/token", true),
            (&local, Loopback, "http://auth.example/token", false),
            (&local, Always, "http://auth.example/token", true),
            (&secure, Always, "/token", false),
            (&secure, Always, "ftp://auth.example/", false),
            (&secure, Always, "https://user:pw@auth.example/", false),
            (&secure, Always, "Registry Realm", false),
            (&secure, Always, "", false),
            (&secure, Always, "https://", false),
        ] {
            assert_eq!(
                realm(registry, text, plain_http).is_ok(),
                allowed,
                "{registry:?} {plain_http:?} {text}"
            );
        }
    }

    #[test]
    fn a_redirect_never_downgrades_the_transport() {
        use PlainHttp::{Always, Loopback};
        for (from, to, plain_http, followed, for_a_token) in [
            ("https://r.example/a", "https://cdn.example/b?sig=x", Always, true, false),
            ("https://r.example/a", "http://cdn.example/b", Always, false, false),
            ("https://r.example/a", "http://localhost/b", Loopback, false, false),
            ("https://r.example/a", "//r.example/b", Loopback, true, true),
            ("https://r.example/a", "/b", Loopback, true, true),
            ("http://r.example/a", "https://r.example/b", Always, true, false),
            ("http://r.example/a", "http://cdn.example/b", Always, true, false),
            ("http://localhost:1/a", "http://cdn.example/b", Loopback, false, false),
            ("http://localhost:1/a", "http://[::1]:2/b", Loopback, true, false),
            ("http://localhost:1/a", "/b", Loopback, true, true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("location", to.parse().unwrap());
            let from: Uri = from.parse().unwrap();
            assert_eq!(redirect(&from, &headers, plain_http).is_ok(), followed, "{from} {to}");
            assert_eq!(token_redirect(&from, &headers, plain_http).is_ok(), for_a_token, "{from} {to}");
        }
        let from = Uri::from_static("https://r.example/");
        assert!(redirect(&from, &HeaderMap::new(), Always).is_err());
    }
}

//! The origins to which requests and credentials may be sent. The manual has a table of
//! [permitted destinations](crate#permitted-destinations).
//!
//! An origin is a scheme, a host and a port (RFC 6454, section 4). Another port of the registry's host
//! is a different origin, and so is a mirror.

use std::sync::Arc;

use http::header::{LINK, LOCATION};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Uri};

use crate::config::{Config, PlainHosts};
use crate::error::Misbehaviour;
use crate::header::link::Link;
use crate::header::location::resolve;
use crate::header::url::{UrlKind, redacted, unusable_shown};
use crate::types::digest::Digest;
use crate::types::reference::registry::Registry;
use crate::wire::endpoint::Endpoint;
use crate::wire::head::single;

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
    pub(crate) fn of_registry(registry: &Registry, is_plain: bool) -> (Self, Base) {
        let scheme = if is_plain { Scheme::HTTP } else { Scheme::HTTPS };
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

    /// Returns the host, an IPv6 address in brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
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
pub(crate) fn redirect(
    from: &Uri,
    headers: &HeaderMap,
    plain_hosts: &PlainHosts,
) -> Result<Uri, Misbehaviour> {
    let location = single(headers, LOCATION, "Location")?;
    let location = location.ok_or_else(|| unusable("Location", &"it is missing"))?;
    let to = resolve(from, location.as_bytes())?;
    if to.scheme() == Some(&Scheme::HTTP) {
        if from.scheme() != Some(&Scheme::HTTP) {
            return Err(unusable("Location", &format_args!("it redirects from https to {}", shown(&to))));
        }
        if !plain_hosts.allows(to.host().unwrap_or_default()) {
            let problem = format_args!("it redirects to plain http, which is not allowed: {}", shown(&to));
            return Err(unusable("Location", &problem));
        }
    }
    Ok(to)
}

/// The maximum length of the path and query of an upload session, in bytes.
const MAX_SESSION_LEN: usize = 16 << 10;

/// Returns the URL of an upload session in a response from `from`, if requests to it are allowed, or `None` if
/// the response has none. Its query is opaque.
///
/// Relative URLs could grow with each response, so their length is bounded.
///
/// Source: distribution-spec, "Pushing a blob in chunks"; RFC 9110, section 10.2.2.
pub(crate) fn upload_session(
    from: &Uri,
    headers: &HeaderMap,
    plain_hosts: &PlainHosts,
) -> Result<Option<Uri>, Misbehaviour> {
    let Some(location) = single(headers, LOCATION, "Location")? else { return Ok(None) };
    let to = resolve(from, location.as_bytes())?;
    if to.path_and_query().is_some_and(|path| path.as_str().len() > MAX_SESSION_LEN) {
        return Err(unusable("Location", &"the URL of the upload is longer than 16 KiB"));
    }
    let registry = Origin::of(from);
    no_weaker(registry.as_ref(), to, plain_hosts)
        .map(Some)
        .map_err(|why| unusable("Location", &format_args!("the URL of the upload {why}")))
}

/// Returns the URL that closes an upload session: the session's own, with the digest appended to its query.
///
/// Source: distribution-spec, end-6.
pub(crate) fn closing(session: &Uri, digest: &Digest) -> Uri {
    let separator = match session.query() {
        None => "?",
        Some("") => "",
        Some(query) if query.ends_with('&') => "",
        Some(_) => "&",
    };
    // A digest consists of characters that a query may contain; registries do not decode a colon everywhere.
    let path = session.path_and_query().map_or("/", PathAndQuery::as_str);
    let mut parts = session.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(format!("{path}{separator}digest={digest}")).ok();
    // The session's URL and the digest are short enough, and consist of URL characters.
    Uri::from_parts(parts).unwrap_or_else(|_| session.clone())
}

/// Returns the target of a token request's redirect, if it may be followed. It must stay on the same
/// origin, since the request's credentials are for that server only.
pub(crate) fn token_redirect(
    from: &Uri,
    headers: &HeaderMap,
    plain_hosts: &PlainHosts,
) -> Result<Uri, Misbehaviour> {
    let to = redirect(from, headers, plain_hosts)?;
    if Origin::of(from) != Origin::of(&to) {
        let problem = format_args!("it redirects a token request to another server: {}", shown(&to));
        return Err(unusable("Location", &problem));
    }
    Ok(to)
}

/// Returns the URL of the next page of a list, if there is one. It must stay on the same origin.
///
/// `from` is the URL that answered. The next page is the first link with the relation `next`, in any of the Link
/// headers; its query is used verbatim.
///
/// Source: RFC 8288, section 3; distribution-spec end-8b and end-12b.
pub(crate) fn next_page(from: &Uri, headers: &HeaderMap) -> Result<Option<Uri>, Misbehaviour> {
    for value in headers.get_all(LINK) {
        let links = Link::parse(value.as_bytes())?;
        let Some(next) = links.iter().find(|link| link.has_rel("next")) else { continue };
        let to = resolve(from, next.target().as_bytes()).map_err(|_| {
            let shown = unusable_shown(next.target());
            unusable("Link", &format_args!("its next page `{shown}` is not a valid http or https URL"))
        })?;
        if Origin::of(from) == Origin::of(&to) {
            return Ok(Some(to));
        }
        let is_downgrade = from.scheme() != Some(&Scheme::HTTP) && to.scheme() == Some(&Scheme::HTTP);
        let whereto = if is_downgrade { "from https to" } else { "to another server:" };
        return Err(unusable("Link", &format_args!("its next page leads {whereto} {}", shown(&to))));
    }
    Ok(None)
}

/// Returns the URL of the token server in a registry's challenge, if requests to it are allowed. A relative
/// URL is resolved against `from`, the URL that answered with the challenge.
///
/// Source: Docker's token authentication page; RFC 6750, section 5.3.
pub(crate) fn realm(from: &Uri, text: &str, servers: &TokenServers) -> Result<Uri, Misbehaviour> {
    let registry = Origin::of(from);
    let registry = registry.as_ref();
    let uri = resolve(from, text.as_bytes()).map_err(|_| "is not a valid http or https URL");
    let uri = uri.and_then(|uri| no_weaker(registry, uri, &servers.plain_hosts));
    uri.and_then(|uri| servers.permit(registry, uri)).map_err(|why| {
        unusable("WWW-Authenticate", &format_args!("its realm `{}` {why}", unusable_shown(text)))
    })
}

/// The token servers to which the challenges of registries may lead.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenServers {
    plain_hosts: PlainHosts,
    named: Option<Vec<Authority>>,
}

impl TokenServers {
    pub(crate) fn of(config: &Config) -> Self {
        Self { plain_hosts: config.plain_hosts(), named: config.token_servers.clone() }
    }

    fn permit(&self, registry: Option<&Origin>, realm: Uri) -> Result<Uri, &'static str> {
        let (Some(named), Some(scheme)) = (&self.named, realm.scheme()) else { return Ok(realm) };
        let origin = Origin::of(&realm);
        let mut permitted = named.iter().map(|server| Origin::of_parts(scheme, server));
        if origin.as_ref() == registry || permitted.any(|permitted| Some(permitted) == origin) {
            Ok(realm)
        } else {
            Err("is not among the permitted token servers (`token_servers`)")
        }
    }
}

/// Returns the URL of content outside of its registry, as given in a document, if requests to it are
/// allowed. It must be absolute.
///
/// Source: image-spec, descriptor.md, `urls`.
pub(crate) fn elsewhere(
    registry: &Origin,
    text: &str,
    plain_hosts: &PlainHosts,
) -> Result<Uri, Misbehaviour> {
    let uri: Result<Uri, _> = text.parse().map_err(|_| "is not a URL");
    let uri = uri.and_then(|uri| {
        uri.scheme().ok_or("is not an absolute URL")?;
        // Like a redirect's target, it must not have an empty host, a user name or an invalid port.
        resolve(&uri, text.as_bytes()).map_err(|_| "is not a valid http or https URL")
    });
    uri.and_then(|uri| no_weaker(Some(registry), uri, plain_hosts)).map_err(|why| Misbehaviour::Url { why })
}

/// Checks that the transport of a URL is no weaker than the registry's.
fn no_weaker(registry: Option<&Origin>, uri: Uri, plain_hosts: &PlainHosts) -> Result<Uri, &'static str> {
    match uri.scheme_str() {
        Some("https") => Ok(uri),
        _ if !registry.is_some_and(Origin::is_plain) => Err("is plain http, but the registry uses https"),
        _ if plain_hosts.allows(uri.host().unwrap_or_default()) => Ok(uri),
        _ => Err("is plain http, which is not allowed"),
    }
}

/// Returns whether a request of an operation on `registry` may send credentials to `target`.
pub(crate) fn may_authorize(registry: &Origin, target: &Origin) -> bool {
    registry == target
}

fn shown(uri: &Uri) -> String {
    redacted(uri, UrlKind::Other)
}

fn unusable(name: &'static str, problem: &impl ToString) -> Misbehaviour {
    Misbehaviour::Header { name, problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PlainHttp;

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
        let secure = "https://r.example/v2/a/manifests/1?b";
        let (plain, local) = ("http://r.example/v2/", "http://localhost:5000/v2/");
        for (from, plain_http, text, expected) in [
            (secure, Always, "https://auth.example/token?a=b", Some("https://auth.example/token?a=b")),
            (secure, Always, "http://auth.example/token", None),
            (secure, Always, "http://r.example/token", None),
            (secure, Loopback, "http://localhost/token", None),
            (plain, Always, "http://auth.example/token", Some("http://auth.example/token")),
            (plain, Always, "https://auth.example/token", Some("https://auth.example/token")),
            (local, Loopback, "https://auth.example/token", Some("https://auth.example/token")),
            (local, Loopback, "http://127.0.0.1:5001/token", Some("http://127.0.0.1:5001/token")),
            (local, Loopback, "http://auth.example/token", None),
            (local, Always, "http://auth.example/token", Some("http://auth.example/token")),
            // Relative to the URL that answered.
            (secure, Always, "/token?c", Some("https://r.example/token?c")),
            (local, Loopback, "token", Some("http://localhost:5000/v2/token")),
            (secure, Always, "//auth.example/token", Some("https://auth.example/token")),
            (secure, Always, "ftp://auth.example/", None),
            (secure, Always, "https://user:pw@auth.example/", None),
            (secure, Always, "https://auth.example:1:1/", None),
            (secure, Always, "Registry Realm", None),
            (secure, Always, "https://", None),
        ] {
            let servers = TokenServers { plain_hosts: plain_http.into(), named: None };
            let found = realm(&from.parse().unwrap(), text, &servers);
            assert_eq!(
                found.ok().map(|uri| uri.to_string()).as_deref(),
                expected,
                "{from} {plain_http:?} {text}"
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
            assert_eq!(redirect(&from, &headers, &plain_http.into()).is_ok(), followed, "{from} {to}");
            assert_eq!(
                token_redirect(&from, &headers, &plain_http.into()).is_ok(),
                for_a_token,
                "{from} {to}"
            );
        }
        let from = Uri::from_static("https://r.example/");
        assert!(redirect(&from, &HeaderMap::new(), &Always.into()).is_err());
    }

    #[test]
    fn the_next_page_is_on_the_same_origin() {
        const LIST: &str = "https://r.example/v2/a/tags/list?n=2";
        const PLAIN: &str = "http://r.example:5000/v2/_catalog";
        for (from, values, expected) in [
            (LIST, &[][..], Ok(None)),
            (LIST, &[""], Ok(None)),
            (LIST, &["</b>; rel=prev"], Ok(None)),
            (LIST, &["</b>; rel=next; anchor=\"/c\""], Ok(None)),
            (
                LIST,
                &["</v2/a/tags/list?last=b&n=2>; rel=\"next\""],
                Ok(Some("https://r.example/v2/a/tags/list?last=b&n=2")),
            ),
            (
                LIST,
                &["<?last=b%2Fc+d%20&x=;e>; rel=next"],
                Ok(Some("https://r.example/v2/a/tags/list?last=b%2Fc+d%20&x=;e")),
            ),
            (LIST, &["<b>; rel=next"], Ok(Some("https://r.example/v2/a/tags/b"))),
            (LIST, &["<>; rel=next"], Ok(Some(LIST))),
            (LIST, &["<https://R.example:443/b?c>; rel=next"], Ok(Some("https://R.example:443/b?c"))),
            (
                LIST,
                &["</a>; rel=first, </b>; rel=\"last Next\", </c>; rel=next"],
                Ok(Some("https://r.example/b")),
            ),
            (LIST, &["</a>; rel=first", "", "</b>; rel=next"], Ok(Some("https://r.example/b"))),
            (PLAIN, &["<http://r.example:5000/b>; rel=next"], Ok(Some("http://r.example:5000/b"))),
            (
                LIST,
                &["<http://r.example/b?c=d>; rel=next"],
                Err(
                    "the Link header is unusable: its next page leads from https to http://r.example/b?c=REDACTED",
                ),
            ),
            (
                LIST,
                &["<//cdn.example/b>; rel=next"],
                Err(
                    "the Link header is unusable: its next page leads to another server: https://cdn.example/b",
                ),
            ),
            (LIST, &["<https://r.example:444/b>; rel=next"], Err("another server: https://r.example:444/b")),
            (PLAIN, &["<https://r.example:5000/b>; rel=next"], Err("another server")),
            (PLAIN, &["<http://r.example/b>; rel=next"], Err("another server")),
            (
                LIST,
                &["<ftp://r.example/b?c=d>; rel=next"],
                Err("its next page `ftp://r.example/b` is not a valid http or https URL"),
            ),
            (
                LIST,
                &["<https://me:pw@r.example/b>; rel=next"],
                Err("its next page `https://r.example/b` is not"),
            ),
            (LIST, &["/b; rel=next"], Err("invalid Link header at byte 0")),
            (LIST, &["</a>; rel=first", "</b; rel=next"], Err("invalid Link header at byte")),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("link", value.parse().unwrap());
            }
            let found = next_page(&from.parse().unwrap(), &headers);
            match (found, expected) {
                (Ok(found), Ok(expected)) => {
                    assert_eq!(found.map(|uri| uri.to_string()).as_deref(), expected, "{from} {values:?}");
                }
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{from} {values:?}: {error}");
                }
                (found, expected) => panic!("{from} {values:?}: {found:?} instead of {expected:?}"),
            }
        }
    }
}

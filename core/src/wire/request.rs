//! The headers and the payload of every request that is sent.

use std::fmt;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, RANGE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Uri};

use crate::auth::token::TokenKey;
use crate::config::Config;
use crate::header::range::ByteRange;
use crate::types::secret::Secret;
use crate::wire::percent::push_pair;

/// What the content of a request's answer will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepting {
    Manifest,
    /// A blob from this byte on.
    Blob(u64),
    Token,
}

/// The request itself.
pub(crate) fn build(config: &Config, method: Method, uri: Uri, accepting: Accepting) -> Request<Payload> {
    let mut request = Request::new(Payload::Empty);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    let accept = match accepting {
        Accepting::Manifest => MANIFEST_TYPES,
        Accepting::Blob(_) => HeaderValue::from_static("*/*"),
        Accepting::Token => HeaderValue::from_static("application/json"),
    };
    headers.insert(ACCEPT, accept);
    // Digests are over the bytes as the registry holds them (RFC 9110, section 12.5.3).
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(agent) = &config.user_agent {
        headers.insert(USER_AGENT, agent.clone());
    }
    if let Accepting::Blob(offset @ 1..) = accepting
        && let Ok(range) = HeaderValue::from_str(&ByteRange::starting_at(offset).to_string())
    {
        headers.insert(RANGE, range);
    }
    request
}

/// `GET` of a token: the realm with its own query, the service where there is one, and each scope.
///
/// Source: Docker's token authentication page.
pub(crate) fn token_uri(key: &TokenKey) -> Uri {
    let realm = &key.realm.0;
    let mut query = realm.query().unwrap_or_default().to_owned();
    let service = Some(("service", key.service.clone())).filter(|(_, service)| !service.is_empty());
    for (name, value) in service.into_iter().chain(key.scope.params().map(|scope| ("scope", scope))) {
        push_pair(&mut query, name, &value);
    }
    let mut parts = realm.clone().into_parts();
    let path = if query.is_empty() { realm.path().to_owned() } else { format!("{}?{query}", realm.path()) };
    parts.path_and_query = PathAndQuery::try_from(path).ok();
    // Too long for a URL: the realm alone will answer that it lacks what it needs.
    Uri::from_parts(parts).unwrap_or_else(|_| realm.clone())
}

/// `POST` of a refresh token, for an access token.
///
/// Source: Docker's page on `OAuth2`; RFC 6749, section 6.
pub(crate) fn refresh(request: &mut Request<Payload>, key: &TokenKey, refresh_token: &Secret) {
    let mut form = String::new();
    push_pair(&mut form, "grant_type", "refresh_token");
    if !key.service.is_empty() {
        push_pair(&mut form, "service", &key.service);
    }
    push_pair(&mut form, "client_id", "oci-proto");
    push_pair(&mut form, "scope", &key.scope.to_string());
    push_pair(&mut form, "refresh_token", refresh_token.reveal());
    let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(CONTENT_TYPE, form_type);
    *request.body_mut() = Payload::Bytes(form.into());
}

/// The four types that are understood: image and index, of OCI and of Docker.
const MANIFEST_TYPES: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json",
);

/// What a request carries as its body.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Payload {
    /// Nothing.
    Empty,
    /// These bytes.
    Bytes(Bytes),
}

impl fmt::Debug for Payload {
    /// Leaves out the bytes, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

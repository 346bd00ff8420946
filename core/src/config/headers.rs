//! Headers for registries.

use std::collections::BTreeMap;
use std::fmt;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, EXPECT,
    HOST, IF_MATCH, IF_NONE_MATCH, IF_RANGE, PROXY_AUTHORIZATION, RANGE, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::types::reference::registry::Registry;

/// Additional headers for requests to registries, for example those that a gateway in front of one requires.
///
/// They are sent to the registry itself: not to its token server, nor where it redirects, nor to another registry. Their
/// values count as secrets, as in errors and recordings.
///
/// ```
/// use http::{HeaderName, HeaderValue};
/// use oci_proto::Config;
///
/// let mut config = Config::default();
/// let (name, value) = (HeaderName::from_static("x-tenant"), HeaderValue::from_static("blue"));
/// config.headers.insert("registry.example".parse()?, name, value)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RegistryHeaders(BTreeMap<Registry, HeaderMap>);

impl RegistryHeaders {
    /// Sets a header for a registry.
    ///
    /// # Errors
    /// Fails if the header is one that the session or its driver sets.
    pub fn insert(
        &mut self,
        registry: Registry,
        name: HeaderName,
        mut value: HeaderValue,
    ) -> Result<(), ReservedHeader> {
        if RESERVED.contains(&name) {
            return Err(ReservedHeader { name });
        }
        value.set_sensitive(true);
        self.0.entry(registry).or_default().insert(name, value);
        Ok(())
    }

    /// Returns all headers, with their registries.
    pub fn iter(&self) -> impl Iterator<Item = (&Registry, &HeaderName, &HeaderValue)> {
        self.0
            .iter()
            .flat_map(|(registry, headers)| headers.iter().map(move |(name, value)| (registry, name, value)))
    }

    /// Adds the headers for a registry to those of a request.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap, registry: &Registry) {
        for (name, value) in self.0.get(registry).into_iter().flatten() {
            headers.insert(name, value.clone());
        }
    }
}

const RESERVED: &[HeaderName] = &[
    ACCEPT,
    ACCEPT_ENCODING,
    AUTHORIZATION,
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    EXPECT,
    HOST,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_RANGE,
    PROXY_AUTHORIZATION,
    RANGE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    USER_AGENT,
];

impl fmt::Debug for RegistryHeaders {
    /// Leaves out the values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(registry, name, _)| (registry, name))).finish()
    }
}

/// The error returned for a header that the session or its driver sets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header {name} is set by the client itself")]
#[non_exhaustive]
pub struct ReservedHeader {
    /// The name of the header.
    pub name: HeaderName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_protocol_cannot_be_set() {
        let mut headers = RegistryHeaders::default();
        let registry: Registry = "registry.example".parse().unwrap();
        let value = HeaderValue::from_static("secret");
        let refused = headers.insert(registry.clone(), AUTHORIZATION, value.clone()).unwrap_err();
        assert_eq!(refused.to_string(), "the header authorization is set by the client itself");
        for conditional in [IF_MATCH, IF_NONE_MATCH] {
            headers.insert(registry.clone(), conditional, value.clone()).unwrap_err();
        }
        headers.insert(registry, HeaderName::from_static("x-tenant"), value).unwrap();
        let shown = format!("{headers:?}");
        assert!(shown.contains("x-tenant") && !shown.contains("secret"), "{shown}");
    }
}

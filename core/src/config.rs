//! The configuration of a session.

use http::HeaderValue;
use http::uri::Authority;

use crate::config::headers::RegistryHeaders;
use crate::limits::Limits;
use crate::registries::Registries;
use crate::types::reference::registry::is_loopback;
use crate::types::secret::Secret;

pub(crate) mod headers;

/// The settings of a [`Session`](crate::Session).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The limits of the session.
    pub limits: Limits,
    /// The registries that are accessed over plain HTTP, besides those that [`registries`](Self::registries) names.
    pub plain_http: PlainHttp,
    /// Whether every registry may lead to addresses that are not public. By default only a private one may: one that is
    /// itself at such an address. The manual has a table of [permitted addresses](crate#permitted-addresses).
    pub allow_private_addresses: bool,
    /// The token servers to which the challenges of registries may lead: hosts, with a port unless it is the scheme's
    /// default. `None` permits any. A registry may always be its own token server.
    pub token_servers: Option<Vec<Authority>>,
    /// The mirrors and other locations of registries, and those that are blocked or accessed over plain HTTP.
    pub registries: Registries,
    /// The User-Agent header; `None` sends none.
    pub user_agent: Option<HeaderValue>,
    /// Additional headers for requests to registries.
    pub headers: RegistryHeaders,
    /// The URLs of the driver's proxies. They are not used, but logins in them are redacted like those of
    /// registries, since a proxy may repeat its login in a response.
    pub proxies: Vec<Secret>,
}

impl Config {
    /// Returns the hosts for which plain HTTP is allowed.
    pub(crate) fn plain_hosts(&self) -> PlainHosts {
        PlainHosts { general: self.plain_http, registries: self.registries.clone() }
    }
}

/// The registries that are accessed over plain HTTP. The same rule applies to their token servers and
/// redirects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the hosts to trust without TLS are none, this machine or all")]
pub enum PlainHttp {
    /// No registry.
    Never,
    /// Registries on this machine: `localhost` and its subdomains, 127.0.0.0/8 and `[::1]`.
    #[default]
    Loopback,
    /// Every registry.
    Always,
}

impl PlainHttp {
    /// Returns whether plain HTTP is allowed for this host.
    pub(crate) fn allows(self, host: &str) -> bool {
        match self {
            Self::Never => false,
            Self::Loopback => is_loopback(host),
            Self::Always => true,
        }
    }
}

/// The hosts for which plain HTTP is allowed.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlainHosts {
    general: PlainHttp,
    registries: Registries,
}

impl PlainHosts {
    /// Returns whether plain HTTP is allowed for this host: in general, or since it is that of a registry that is
    /// insecure.
    pub(crate) fn allows(&self, host: &str) -> bool {
        let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        self.general.allows(host) || self.registries.is_insecure(address)
    }
}

#[cfg(test)]
impl From<PlainHttp> for PlainHosts {
    fn from(general: PlainHttp) -> Self {
        Self { general, ..Self::default() }
    }
}

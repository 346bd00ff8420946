//! What a session is told once, at its start.

use http::HeaderValue;

use crate::limits::Limits;
use crate::types::reference::registry::is_loopback;

/// The settings of a [`Session`](crate::Session).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// Bounds on what the session does and holds.
    pub limits: Limits,
    /// Which registries are spoken to without TLS.
    pub plain_http: PlainHttp,
    /// The User-Agent header; none is sent where this is `None`.
    pub user_agent: Option<HeaderValue>,
}

/// Which registries are spoken to without TLS. What these refer to, token servers and where they redirect to, is
/// spoken to so under the same rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the choice is whom to trust without proof: nobody, oneself, all"
)]
pub enum PlainHttp {
    /// None.
    Never,
    /// Those on this machine: `localhost`, 127.0.0.0/8 and `[::1]`.
    #[default]
    Loopback,
    /// All.
    Always,
}

impl PlainHttp {
    /// Whether plain http may be spoken to this host.
    pub(crate) fn allows(self, host: &str) -> bool {
        match self {
            Self::Never => false,
            Self::Loopback => is_loopback(host),
            Self::Always => true,
        }
    }
}

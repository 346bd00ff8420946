//! Errors of building a client.

use std::path::PathBuf;

/// Why a client cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The root certificates are invalid.
    #[error("the root certificates are not usable: {0}")]
    Certificates(String),
    /// A client certificate or its private key is invalid.
    #[error("the client certificate is not usable: {0}")]
    ClientCertificate(String),
    /// The proxy URL is invalid. The message does not show it, since it may contain a password.
    #[error("the proxy is not a URL with a host and the scheme http, https, socks5 or socks5h")]
    Proxy,
    /// The environment variable of this name has an invalid proxy URL.
    #[error("the variable {0} is not a URL with a host and the scheme http, https, socks5 or socks5h")]
    ProxyVariable(String),
    /// A file with rules for registries is missing, or invalid.
    #[error("the registries' configuration {} is not usable: {reason}", path.display())]
    Registries {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// TLS could not be set up.
    #[error("could not set up TLS: {0}")]
    Tls(String),
}

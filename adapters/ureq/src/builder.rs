//! What a client is told once, at its start.
use std::fmt;
use std::time::Duration;

use http::HeaderValue;
use oci_proto::Config;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, PemItem, parse_pem};

use crate::Client;
use crate::transport::Transport;

/// The settings of a [`Client`].
#[must_use = "`build` makes the client"]
pub struct Builder {
    config: Config,
    roots: Vec<Certificate<'static>>,
    connect_timeout: Duration,
    idle_timeout: Duration,
    timeout: Option<Duration>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let mut config = Config::default();
        config.user_agent =
            Some(HeaderValue::from_static(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"))));
        Self {
            config,
            roots: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            timeout: None,
        }
    }

    /// Replaces the settings of the protocol. The default ones name this crate as the user agent.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Trusts these certificates as roots, beside those of the system.
    ///
    /// # Errors
    /// The text is not PEM, holds no certificate, or holds one that cannot be a root.
    pub fn add_root_certificates_pem(mut self, pem: &[u8]) -> Result<Self, BuildError> {
        let before = self.roots.len();
        for item in parse_pem(pem) {
            let item = item.map_err(|error| BuildError::Certificates(error.to_string()))?;
            if let PemItem::Certificate(certificate) = item {
                // ureq would leave out what it cannot read without a word.
                RootCertStore::empty()
                    .add(CertificateDer::from(certificate.der()))
                    .map_err(|error| BuildError::Certificates(error.to_string()))?;
                self.roots.push(certificate);
            }
        }
        if self.roots.len() == before {
            return Err(BuildError::Certificates("no certificate in the PEM text".to_owned()));
        }
        Ok(self)
    }

    /// Bounds the time to connect, TLS included. 10 seconds unless told otherwise.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Bounds the wait for a response's head, and for each further part of its body. 30 seconds unless
    /// told otherwise.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Bounds each whole operation, retries included: a call, a walk or a blob from its first request
    /// to its end. Unbounded unless told otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    /// None at present. A system without root certificates is no error: plain http and added roots
    /// work there, and the message of a failed TLS connection tells.
    pub fn build(self) -> Result<Client, BuildError> {
        let transport =
            Transport::new(&self.config.limits, self.roots, self.connect_timeout, self.idle_timeout);
        Ok(Client::start(self.config, transport, self.timeout))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .field("added_roots", &self.roots.len())
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// Why a client could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The root certificates are not usable.
    #[error("the root certificates are not usable: {0}")]
    Certificates(String),
}

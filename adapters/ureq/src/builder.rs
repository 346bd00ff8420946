//! How a client is made.

use std::env;
use std::fmt;
use std::time::Duration;

use http::HeaderValue;
use oci_proto::header::Warning;
use oci_proto::{Config, Retry, unusable_proxy_variable};
use oci_proto_credentials::Store;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, PemItem, parse_pem};

use crate::Client;
use crate::hooks::Hooks;
use crate::proxy::{Proxies, proxy};
use crate::transport::Transport;

/// Makes a [`Client`].
#[must_use = "`build` makes the client"]
pub struct Builder {
    config: Config,
    credentials: Store,
    roots: Vec<Certificate<'static>>,
    connect_timeout: Duration,
    idle_timeout: Duration,
    timeout: Option<Duration>,
    hooks: Hooks,
    /// In place of what the environment says.
    proxies: Option<Proxies>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let mut config = Config::default();
        config.user_agent =
            Some(HeaderValue::from_static(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"))));
        Self {
            config,
            credentials: Store::from_env(),
            roots: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            timeout: None,
            hooks: Hooks::default(),
            proxies: None,
        }
    }

    /// Sets the session's settings, the User-Agent header among them.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets where logins are looked up: by default where Docker and Podman keep them, as the environment says.
    ///
    /// That may run a credential helper, on a thread of its own. [`Store::none`] switches all of it off.
    pub fn credentials(mut self, store: Store) -> Self {
        self.credentials = store;
        self
    }

    /// Trusts the certificates in a PEM text, besides those that the system trusts.
    ///
    /// # Errors
    /// The text is not PEM, has no certificate, or has one that cannot be a root.
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

    /// Sets the proxy that every registry is reached through, this machine's own excepted; with `None` there is
    /// no proxy. What the environment says of proxies does not count then.
    ///
    /// # Errors
    /// It is not a URL with the scheme `http`, `https`, `socks5` or `socks5h`.
    pub fn proxy(mut self, url: Option<&str>) -> Result<Self, BuildError> {
        let proxy = url.map(|url| proxy(url).ok_or(BuildError::Proxy)).transpose()?;
        self.proxies = Some(Proxies::all(proxy));
        Ok(self)
    }

    /// Sets how long making a connection may take: route, proxy and TLS together. 10 s by default.
    ///
    /// Looking up a name takes as long as the system lets it, save where [`timeout`](Self::timeout) is set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long a request may wait for its response's head, and a response for its next bytes. 30 s by
    /// default. An exchange that waits longer counts as a fault, and the session may try again.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// Sets how long a whole operation may take, retries included. No limit by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Has `hook` told of each request that failed and is tried again.
    ///
    /// It runs in the call that the request is for, where its event has its turn: it sees the retries of one call
    /// in order, all of them before the call ends, and those of several calls at the same time. It may use the
    /// client. It must not block for long: the call
    /// waits for it.
    ///
    /// A panic in it comes out of that call, and the client goes on.
    pub fn on_retry(mut self, hook: impl Fn(&Retry) + Send + Sync + 'static) -> Self {
        self.hooks.retry = Box::new(hook);
        self
    }

    /// Has `hook` told what a registry wants its users to know: each text once a call, however often it comes.
    ///
    /// It runs as that of [`on_retry`](Self::on_retry) does. Whoever answered chose the text.
    pub fn on_warning(mut self, hook: impl Fn(&Warning) + Send + Sync + 'static) -> Self {
        self.hooks.warning = Box::new(hook);
        self
    }

    /// Makes the client. Reads the system's certificates and the proxy settings in the environment.
    ///
    /// # Errors
    /// A variable names a proxy that cannot be used. A system without root certificates is no error: plain http
    /// works there, and what needs one says so.
    pub fn build(self) -> Result<Client, BuildError> {
        if self.proxies.is_none()
            && let Some(name) = unusable_proxy_variable(|name| env::var_os(name))
        {
            return Err(BuildError::ProxyVariable(name));
        }
        let proxies = self.proxies.unwrap_or_else(Proxies::from_env);
        let limits = &self.config.limits;
        let transport = Transport::new(limits, self.roots, proxies, self.connect_timeout, self.idle_timeout);
        Ok(Client::start(self.config, self.credentials, transport, self.timeout, self.hooks))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .field("credentials", &self.credentials)
            .field("added_roots", &self.roots.len())
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Why a client could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The root certificates are not usable.
    #[error("the root certificates are not usable: {0}")]
    Certificates(String),
    /// The proxy cannot be used. What it was is not said, since it may hold a password.
    #[error("the proxy is not a URL with a host and the scheme http, https, socks5 or socks5h")]
    Proxy,
    /// The same, of a variable of the environment.
    #[error(
        "the variable {0} is not the URL of a proxy, with a host and the scheme http, https, socks5 or socks5h"
    )]
    ProxyVariable(String),
}

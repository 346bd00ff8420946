//! How a client is made.

use std::collections::hash_map::RandomState;
use std::env;
use std::error::Error;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::HeaderValue;
use hyper_util::client::legacy;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use oci_proto::header::Warning;
use oci_proto::{Config, FaultKind, Retry, Session, is_proxy_url, unusable_proxy_variable};
use oci_proto_credentials::Store;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::carrying::{Classify, Rules};
use crate::connector::Connector;
use crate::hooks::Hooks;
use crate::{Client, HyperTransport, Transport};

/// Makes a [`Client`].
#[must_use]
pub struct Builder {
    config: Config,
    credentials: Store,
    roots: RootCertStore,
    connect_timeout: Duration,
    idle_timeout: Duration,
    timeout: Option<Duration>,
    hooks: Hooks,
    classify: Option<Box<Classify>>,
    /// In place of what the environment says.
    proxies: Option<Matcher>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let mut config = Config::default();
        config.user_agent =
            Some(HeaderValue::from_static(concat!("oci-proto-tokio/", env!("CARGO_PKG_VERSION"))));
        Self {
            config,
            credentials: Store::from_env(),
            roots: RootCertStore::empty(),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            timeout: None,
            hooks: Hooks::default(),
            classify: None,
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
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| BuildError::Certificates(error.to_string()))?;
            self.roots.add(certificate).map_err(|error| BuildError::Certificates(error.to_string()))?;
        }
        if self.roots.len() == before {
            return Err(BuildError::Certificates("no certificate in the PEM text".to_owned()));
        }
        Ok(self)
    }

    /// Sets the proxy that every registry is reached through, this machine's own excepted; with `None` there is
    /// no proxy. What the environment says of proxies does not count then.
    ///
    /// A transport of your own has proxies of its own.
    ///
    /// # Errors
    /// It is not a URL with the scheme `http`, `https`, `socks5` or `socks5h`.
    pub fn proxy(mut self, url: Option<&str>) -> Result<Self, BuildError> {
        if url.is_some_and(|url| !is_proxy_url(url)) {
            return Err(BuildError::Proxy);
        }
        self.proxies = Some(Matcher::builder().all(url.unwrap_or_default()).build());
        Ok(self)
    }

    /// Sets how long making a connection may take: name, route, proxy and TLS together. 10 s by default.
    ///
    /// A transport of your own has a limit of its own.
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
    /// client. It must not block for long: the thread
    /// that polls the call waits for it.
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

    /// Says what kind of fault a transport's error is, where you know better.
    ///
    /// Where `classify` answers `None` the chain of the error's sources decides: a rustls error or the
    /// word "certificate" is [`FaultKind::Tls`], an elapsed timer [`FaultKind::Timeout`], a refused or
    /// unreachable connection [`FaultKind::Connect`], anything else [`FaultKind::Reset`].
    pub fn classify(
        mut self,
        classify: impl Fn(&(dyn Error + 'static)) -> Option<FaultKind> + Send + Sync + 'static,
    ) -> Self {
        self.classify = Some(Box::new(classify));
        self
    }

    /// Makes a client over the default transport. Reads the system's certificates and the proxy settings in
    /// the environment.
    ///
    /// # Errors
    /// TLS cannot be set up, or a variable names a proxy that cannot be used.
    pub fn build(mut self) -> Result<Client, BuildError> {
        let found = rustls_native_certs::load_native_certs();
        // Some systems ship certificates that rustls does not understand; the others still serve.
        self.roots.add_parsable_certificates(found.certs);
        let distrust = self.roots.is_empty().then(|| {
            let mut why =
                "this system has no root certificates: install them, set SSL_CERT_FILE, or give the \
                           client some"
                    .to_owned();
            for error in found.errors.iter().take(2) {
                why.push_str("; ");
                why.push_str(&error.to_string());
            }
            Arc::from(why)
        });
        // Named, since a program with two providers has no default one.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| BuildError::Tls(error.to_string()))?
            .with_root_certificates(std::mem::replace(&mut self.roots, RootCertStore::empty()))
            .with_no_client_auth();
        if self.proxies.is_none()
            && let Some(name) = unusable_proxy_variable(|name| env::var_os(name))
        {
            return Err(BuildError::ProxyVariable(name));
        }
        let proxies = Arc::new(self.proxies.take().unwrap_or_else(Matcher::from_env));
        let connector = Connector::new(tls, proxies.clone(), self.connect_timeout, distrust);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // Less than the minute after which many servers and middle boxes close an idle connection.
            .pool_idle_timeout(Duration::from_secs(30))
            // More than this are never in use.
            .pool_max_idle_per_host(self.config.limits.in_flight_per_origin)
            .build(connector);
        Ok(self.build_with(HyperTransport::new(client, proxies)))
    }

    /// Makes a client over a transport of your own. Certificates and the connect timeout are its own.
    pub fn build_with<T: Transport>(self, transport: T) -> Client<T> {
        // Seeds nothing but the jitter of retries: the standard library's own source of variety will do.
        let seed = RandomState::new().hash_one(());
        let rules = Rules { idle: self.idle_timeout, classify: self.classify, requests: AtomicU64::new(0) };
        let session = Session::new(self.config, seed);
        Client::over(session, self.credentials, transport, self.timeout, rules, self.hooks)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("config", &self.config)
            .field("credentials", &self.credentials)
            .field("roots", &self.roots.len())
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
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

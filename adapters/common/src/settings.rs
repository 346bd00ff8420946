//! The settings of a client.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use oci_proto::header::Warning;
use oci_proto::record::Keep;
use oci_proto::{Config, Limits, MirrorReport, Registries, Registry, Retry, Session};
use oci_proto_credentials::Store;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;

use crate::certificate_directories;
use crate::client_certificate::ClientCertificate;
use crate::error::BuildError;
use crate::hooks::Hooks;
use crate::notice::Notice;
use crate::proxies::Proxies;
use crate::proxy::Proxy;
use crate::registries_conf;
use crate::roots::{self, Roots};
use crate::server_name::Server;
use crate::times::LONGEST_TIMEOUT;
use crate::tls::{Certificates, Trust};

/// The settings of a client. All clients in this workspace use this type.
///
/// By default a client verifies servers with the system's root certificates and those of Docker and Podman for single
/// registries, and takes proxies, logins and rules for registries from the environment. The environment is read when a
/// client is built. A timeout longer than a year counts as a year.
#[derive(Clone)]
#[must_use = "settings do nothing until a client is built with them"]
pub struct Settings {
    /// `None` for the defaults, with the client's own User-Agent.
    config: Option<Config>,
    /// `None` for the environment's.
    credentials: Option<Store>,
    /// `None` for the environment's.
    proxies: Option<Proxies>,
    /// Trusted in addition to those of the system.
    roots: Vec<CertificateDer<'static>>,
    clients: Vec<(Server, ClientCertificate)>,
    /// `None` for those of Podman.
    registries_conf: Option<Vec<PathBuf>>,
    /// `None` for those of Docker and Podman.
    certificate_directories: Option<Vec<PathBuf>>,
    tls: Option<Arc<ClientConfig>>,
    connect_timeout: Duration,
    idle_timeout: Duration,
    timeout: Option<Duration>,
    hooks: Hooks,
    recorder: Option<Recorder>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            config: None,
            credentials: None,
            proxies: None,
            roots: Vec::new(),
            clients: Vec::new(),
            registries_conf: None,
            certificate_directories: None,
            tls: None,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            timeout: None,
            hooks: Hooks::default(),
            recorder: None,
        }
    }
}

impl Settings {
    /// Sets the configuration of the session: limits, plain HTTP, and the User-Agent header.
    ///
    /// By default that is [`Config::default`] with the client's name and version as the User-Agent.
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Sets the store of logins. [`Store::from_env`] by default: the files and credential helpers of Docker
    /// and Podman.
    ///
    /// Logins are looked up only when a registry requires one, each in a new thread. [`Store::none`] disables
    /// lookups.
    pub fn credentials(mut self, store: Store) -> Self {
        self.credentials = Some(store);
        self
    }

    /// Sets the files with rules for registries, in the format of Podman's `registries.conf`, or with an empty list disables
    /// them. Later files replace the entries of earlier ones with the same prefix, and so do those of
    /// [`Config::registries`], which also describes what they mean.
    ///
    /// By default these files are read, if they exist:
    /// - the file in the variable `CONTAINERS_REGISTRIES_CONF`, or `.config/containers/registries.conf` in the directory
    ///   `HOME`, or `/etc/containers/registries.conf`;
    /// - files with the extension `conf` in `/etc/containers/registries.conf.d`, and then those in
    ///   `.config/containers/registries.conf.d` in `HOME`, in the order of their names.
    ///
    /// They are read when a client is built, which fails if one is not usable. Registries and mirrors that are `insecure`
    /// are accessed over plain HTTP; certificates are always verified. A prefix must not have a tag or a digest.
    /// `unqualified-search-registries`, `short-name-mode` and `credential-helpers` have no effect.
    pub fn registries_conf(mut self, files: impl IntoIterator<Item = PathBuf>) -> Self {
        self.registries_conf = Some(files.into_iter().collect());
        self
    }

    /// Sets the proxy for all registries, or disables proxies, instead of using the environment.
    ///
    /// By default, proxies come from the variables `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`,
    /// or the same in lower case. In a CGI program, `HTTP_PROXY` is ignored. [`Proxy`](crate::Proxy) describes the
    /// URL. A proxy receives `http` URLs in absolute-form, and opens tunnels for `https` URLs. It resolves host
    /// names, with `socks5` too. The loopback names and addresses of this machine are never reached through a
    /// proxy.
    ///
    /// The entries of `NO_PROXY`, the hosts that are reached directly, are separated by commas or spaces:
    ///
    /// | entry | hosts |
    /// | --- | --- |
    /// | `*` | all |
    /// | `example.com`, `.example.com`, `*.example.com` | the domain and its subdomains |
    /// | `192.0.2.1`, `2001:db8::1`, `[2001:db8::1]` | the address, if the URL has it as its host |
    /// | `192.0.2.0/24`, `2001:db8::/32` | the addresses of the network, likewise |
    ///
    /// All but networks may be followed by `:PORT`; an IPv6 address is in brackets then. No name is resolved.
    /// Other entries are ignored; see [`on_notice`](Self::on_notice).
    ///
    /// # Errors
    /// The URL is not a valid proxy URL.
    pub fn proxy(mut self, url: Option<&str>) -> Result<Self, BuildError> {
        self.proxies = Some(Proxies::all(url)?);
        Ok(self)
    }

    /// Sets a proxy for each scheme, and the hosts that are reached directly, instead of using the environment:
    /// those of [`Proxies::from_vars`], for example.
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.proxies = Some(proxies);
        self
    }

    /// Trusts the certificates in a PEM text, in addition to those that the system trusts: authorities, and
    /// servers that present such a certificate themselves.
    ///
    /// # Errors
    /// The text is not PEM, has no certificate, or has one that cannot be a root.
    pub fn add_root_certificates_pem(mut self, pem: &[u8]) -> Result<Self, BuildError> {
        self.roots.extend(roots::read_pem(pem).map_err(BuildError::Certificates)?);
        Ok(self)
    }

    /// Adds a certificate by which a registry recognizes this client, and its private key, both as PEM. The
    /// certificates of intermediate authorities may follow in `certificate`.
    ///
    /// It is presented only to the host and port of the registry, and only if it asks for one: not to a token server
    /// or to the target of a redirect elsewhere. It takes precedence over those in
    /// [directories](Self::certificate_directories).
    ///
    /// # Errors
    /// A text is not PEM, or the key is missing or encrypted. That the key is that of the certificate is checked when
    /// a client is built.
    pub fn client_certificate_pem(
        mut self,
        registry: &Registry,
        certificate: &[u8],
        key: &[u8],
    ) -> Result<Self, BuildError> {
        let certificate = ClientCertificate::from_pem(certificate, key)
            .map_err(|error| BuildError::ClientCertificate(error.reason().to_owned()))?;
        self.clients.push((Server::of_registry(registry), certificate));
        Ok(self)
    }

    /// Sets the directories with certificates for single servers, or with an empty list disables them. By default
    /// those of Podman and Docker: `.config/containers/certs.d` in the directory `HOME`, `/etc/containers/certs.d`, and
    /// `/etc/docker/certs.d`.
    ///
    /// The first of them that has a directory named `HOST:PORT`, or for port 443 `HOST`, counts for that host and port.
    /// Its files `*.crt` are trusted as [root certificates](Self::add_root_certificates_pem) in addition to the others,
    /// and `*.cert` are client certificates, each with its key in `*.key`. They are read before the first connection
    /// to the server, which fails if a file is not usable.
    pub fn certificate_directories(mut self, directories: impl IntoIterator<Item = PathBuf>) -> Self {
        self.certificate_directories = Some(directories.into_iter().collect());
        self
    }

    /// Sets the whole configuration of TLS, of rustls 0.23. Its verifier, client certificates, versions and cryptography
    /// are used for all servers, instead of the certificates of the system and of
    /// [directories](Self::certificate_directories). A client cannot be built if other certificates were added to these
    /// settings. The client replaces the protocols for ALPN.
    pub fn tls(mut self, config: impl Into<Arc<ClientConfig>>) -> Self {
        self.tls = Some(config.into());
        self
    }

    /// Sets the time limit for connecting, including proxy and TLS. 10 s by default.
    ///
    /// In the asynchronous client it includes the DNS lookup. In the blocking client the system limits the
    /// DNS lookup, unless [`timeout`](Self::timeout) is set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.min(LONGEST_TIMEOUT);
        self
    }

    /// Sets the time limit for the next part of a request, for the whole head of its response, for the next bytes of
    /// its body, and from the last ones to its end. 30 s by default. The head may take longer after a request that
    /// completes a blob; see [`Exchange::processing_time`](oci_proto::Exchange::processing_time).
    ///
    /// A request that exceeds it fails with a fault, and may be retried.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout.min(LONGEST_TIMEOUT);
        self
    }

    /// Sets the time limit for a whole operation, including retries. Unlimited by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout.min(LONGEST_TIMEOUT));
        self
    }

    /// Sets a hook that is called before each retry of a failed request.
    ///
    /// It runs within the call that the request serves. It sees the retries of one call in order, all of them
    /// before the call returns; concurrent calls may run it at the same time. It may use the client. It
    /// should not block: the call waits for it, and so does the thread that runs or polls the call. A panic
    /// in it unwinds through the call; the client stays usable.
    pub fn on_retry(mut self, hook: impl Fn(&Retry) + Send + Sync + 'static) -> Self {
        self.hooks.retry = Arc::new(hook);
        self
    }

    /// Sets a hook that is called with each warning of a registry. A warning that is repeated within a call
    /// is reported once.
    ///
    /// It runs like the hook of [`on_retry`](Self::on_retry). Do not trust the text, which comes from the
    /// server.
    pub fn on_warning(mut self, hook: impl Fn(&Warning) + Send + Sync + 'static) -> Self {
        self.hooks.warning = Arc::new(hook);
        self
    }

    /// Sets a hook that is called when a mirror has supplied content, once for each mirror and call, and when one has failed
    /// to.
    ///
    /// It runs like the hook of [`on_retry`](Self::on_retry).
    pub fn on_mirror(mut self, hook: impl Fn(&MirrorReport) + Send + Sync + 'static) -> Self {
        self.hooks.mirror = Arc::new(hook);
        self
    }

    /// Sets a hook that is called for each [`Notice`] about the environment, while a client is built. The default
    /// hook does nothing.
    pub fn on_notice(mut self, hook: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        self.hooks.notice = Arc::new(hook);
        self
    }

    /// Records the client's conversations with registries, without their secrets, as text that people can read.
    ///
    /// `write` receives the text of each step as soon as it happens. The texts together, of one client, are a
    /// recording, which a [`Player`](oci_proto::record::Player) replays without a network.
    /// [`record`](oci_proto::record) describes what it contains: documents are always whole.
    ///
    /// `write` runs while the client is locked: it should be fast, and must not use the client.
    ///
    /// ```
    /// use std::fs::File;
    /// use std::io::Write as _;
    ///
    /// use oci_proto::record::Keep;
    /// use oci_proto_common::Settings;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("conversation.txt");
    /// let file = File::create_new(path)?;
    /// let settings = Settings::default().record(Keep::Documents, move |text| {
    ///     if let Err(error) = (&file).write_all(text.as_bytes()) {
    ///         eprintln!("the recording is incomplete: {error}");
    ///     }
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn record(mut self, keep: Keep, write: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.recorder = Some(Recorder { keep, write: Arc::new(write) });
        self
    }

    /// Reads the system's root certificates, and the proxies in the environment unless one was set. Calls the hook
    /// of [`on_notice`](Self::on_notice). For authors of clients.
    ///
    /// # Errors
    /// A variable is not a valid proxy URL, or there are certificates besides a whole configuration of TLS. A system
    /// without root certificates is not an error: plain HTTP works, and connections with TLS explain why they fail.
    pub fn network(&self) -> Result<Network, BuildError> {
        let (proxies, notice) = match &self.proxies {
            Some(proxies) => (proxies.clone(), None),
            None => Proxies::from_env()?,
        };
        if let Some(notice) = notice {
            (self.hooks.notice)(&notice);
        }
        Ok(Network { proxies, trust: Trust(self.certificates()?), connect_timeout: self.connect_timeout })
    }

    fn certificates(&self) -> Result<Certificates, BuildError> {
        let Some(tls) = &self.tls else {
            let directories = self.certificate_directories.clone();
            return Ok(Certificates::Listed {
                roots: Roots::with_system(&self.roots),
                clients: self.clients.clone(),
                directories: directories.unwrap_or_else(certificate_directories::from_env),
            });
        };
        if self.roots.is_empty() && self.clients.is_empty() {
            return Ok(Certificates::Own(tls.clone()));
        }
        let reason = "a configuration of TLS was set; add the certificates to that instead of the settings";
        Err(BuildError::Tls(reason.to_owned()))
    }

    /// Returns the rules for registries: those of the [`config`](Self::config), and of the files, which it reads.
    /// [`Registries::reference`] expands short names with them.
    ///
    /// # Errors
    /// A file is missing or invalid.
    pub fn registries(&self) -> Result<Registries, BuildError> {
        let mut registries = match &self.registries_conf {
            Some(files) => registries_conf::read(files)?,
            None => registries_conf::from_env()?,
        };
        if let Some(config) = &self.config {
            registries.merge(&config.registries);
        }
        Ok(registries)
    }

    /// Makes the session, and returns the settings that do not concern the network. For authors of clients.
    ///
    /// `user_agent` is sent unless a [`config`](Self::config) was set.
    ///
    /// # Errors
    /// A file with rules for registries is missing or invalid.
    pub fn into_parts(self, user_agent: HeaderValue) -> Result<Parts, BuildError> {
        let registries = self.registries()?;
        let mut config = self.config.unwrap_or_else(|| {
            let mut config = Config::default();
            config.user_agent = Some(user_agent);
            config
        });
        config.registries = registries;
        // An invalid variable is an error of `network`.
        let from_env = || Proxies::from_env().map(|(proxies, _)| proxies).unwrap_or_default();
        config.proxies.extend(self.proxies.unwrap_or_else(from_env).iter().map(Proxy::url));
        let limits = config.limits.clone();
        // The seed is used only for the jitter of retries; the randomness of the standard library suffices.
        let seed = RandomState::new().hash_one(());
        let session = match self.recorder {
            Some(Recorder { keep, write }) => Session::recorded(config, seed, keep, move |text| write(text)),
            None => Session::new(config, seed),
        };
        Ok(Parts {
            session,
            limits,
            credentials: self.credentials.unwrap_or_else(Store::from_env).for_client(),
            idle_timeout: self.idle_timeout,
            timeout: self.timeout,
            hooks: self.hooks,
        })
    }
}

/// The receiver of a recording, and the bodies that it has.
#[derive(Clone)]
struct Recorder {
    keep: Keep,
    write: Arc<dyn Fn(&str) + Send + Sync>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("config", &self.config)
            .field("credentials", &self.credentials)
            .field("added_roots", &self.roots.len())
            .field("client_certificates", &self.clients.len())
            .field("registries_conf", &self.registries_conf)
            .field("certificate_directories", &self.certificate_directories)
            .field("has_tls", &self.tls.is_some())
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The settings of a client's transport.
#[derive(Debug)]
#[non_exhaustive]
pub struct Network {
    /// The proxies.
    pub proxies: Proxies,
    /// The certificates.
    pub trust: Trust,
    /// The time limit for connecting.
    pub connect_timeout: Duration,
}

/// The settings of a client, except those of its transport.
#[derive(Debug)]
#[non_exhaustive]
pub struct Parts {
    /// A new session.
    pub session: Session,
    /// The limits of that session.
    pub limits: Limits,
    /// The store of logins.
    pub credentials: Store,
    /// The time limit for each [`Awaited`](crate::Awaited) part of an exchange, except the connection.
    pub idle_timeout: Duration,
    /// The time limit for an operation.
    pub timeout: Option<Duration>,
    /// The user's hooks.
    pub hooks: Hooks,
}

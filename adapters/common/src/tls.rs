//! TLS, as all clients of the workspace use it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;
use oci_proto::{Fault, FaultKind};
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;

use crate::certificate_directories::{CertificateFileError, CertificateFiles};
use crate::client_certificate::{ClientCertificate, ClientCertificates};
use crate::error::BuildError;
use crate::roots::Roots;
use crate::server_name::Server;
use crate::tls_error::tls_message;
use crate::verifier::Verifier;

/// The certificates that a client trusts and presents.
#[derive(Debug)]
pub struct Trust(pub(crate) Certificates);

/// Where the certificates of a client come from.
#[derive(Debug)]
pub(crate) enum Certificates {
    /// From the caller's own settings of TLS.
    Own(Arc<ClientConfig>),
    /// From the system, the settings of the client, and directories.
    Listed {
        roots: Roots,
        /// Client certificates, each for one server.
        clients: Vec<(Server, ClientCertificate)>,
        /// Those of Docker and Podman.
        directories: Vec<PathBuf>,
    },
}

impl Trust {
    /// Returns the settings of TLS for each server, with an adapter's cryptography.
    ///
    /// # Errors
    /// A client certificate is invalid, or the provider does not support the versions of TLS.
    pub fn into_tls(self, provider: Arc<CryptoProvider>) -> Result<ServerTls, BuildError> {
        let (roots, clients, directories) = match self.0 {
            Certificates::Own(config) => return Ok(ServerTls(Kind::Same(without_alpn(config)))),
            Certificates::Listed { roots, clients, directories } => (roots, clients, directories),
        };
        let mut known = BTreeMap::<_, Vec<_>>::new();
        for (server, certificate) in clients {
            let certified = certificate
                .load(&provider)
                .map_err(|error| BuildError::ClientCertificate(error.reason().to_owned()))?;
            known.entry(server).or_default().push(Arc::new(certified));
        }
        let Roots { certificates, distrust } = roots;
        let builder = Builder { provider, roots: certificates };
        let default = match distrust {
            Some(reason) => Err(reason),
            None => Ok(builder.build(Vec::new(), Vec::new()).map_err(BuildError::Tls)?),
        };
        let each = Each { builder, default, clients: known, directories, own: Mutex::default() };
        Ok(ServerTls(Kind::Each(Box::new(each))))
    }
}

/// The settings of TLS of a client, for each server.
#[derive(Debug)]
pub struct ServerTls(Kind);

#[derive(Debug)]
enum Kind {
    Same(Arc<ClientConfig>),
    Each(Box<Each>),
}

impl ServerTls {
    /// Returns the settings for connections to the server of a URL. They have no protocol for ALPN.
    ///
    /// Reads the files with the server's certificates when they are first needed, which may block.
    ///
    /// # Errors
    /// A file is not usable, or no certificate is trusted.
    pub fn of(&self, url: &Uri) -> Result<Arc<ClientConfig>, Fault> {
        match &self.0 {
            Kind::Same(config) => Ok(config.clone()),
            Kind::Each(each) => {
                each.of(&Server::of(url)).map_err(|reason| Fault::new(FaultKind::Tls, reason))
            }
        }
    }
}

/// A client sends no more than HTTP/1.1.
fn without_alpn(config: Arc<ClientConfig>) -> Arc<ClientConfig> {
    if config.alpn_protocols.is_empty() {
        return config;
    }
    let mut config = ClientConfig::clone(&config);
    config.alpn_protocols.clear();
    Arc::new(config)
}

#[derive(Debug)]
struct Each {
    builder: Builder,
    /// For servers without certificates of their own, or the reason why none can be trusted.
    default: Result<Arc<ClientConfig>, String>,
    clients: BTreeMap<Server, Vec<Arc<CertifiedKey>>>,
    directories: Vec<PathBuf>,
    /// For servers with certificates of their own. Others are not kept: servers may name any number of them.
    own: Mutex<BTreeMap<Server, Arc<ClientConfig>>>,
}

impl Each {
    fn of(&self, server: &Server) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.own.lock().unwrap_or_else(PoisonError::into_inner).get(server) {
            return Ok(config.clone());
        }
        let files = CertificateFiles::read(&self.directories, server).map_err(|error| error.to_string())?;
        let given = self.clients.get(server);
        if files.is_none() && given.is_none() {
            return self.default.clone();
        }
        let CertificateFiles { roots, clients: found } = files.unwrap_or_default();
        if let (Err(reason), true) = (&self.default, roots.is_empty()) {
            return Err(reason.clone());
        }
        let mut clients = given.cloned().unwrap_or_default();
        for (path, certificate) in found {
            let certified = certificate
                .load(&self.builder.provider)
                .map_err(|error| CertificateFileError::of_client(&path, &error).to_string())?;
            clients.push(Arc::new(certified));
        }
        let config = self.builder.build(roots, clients)?;
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(own.entry(server.clone()).or_insert(config).clone())
    }
}

#[derive(Debug)]
struct Builder {
    provider: Arc<CryptoProvider>,
    roots: Vec<CertificateDer<'static>>,
}

impl Builder {
    /// Returns settings with more roots, and with client certificates, of which the first take precedence.
    fn build(
        &self,
        mut roots: Vec<CertificateDer<'static>>,
        clients: Vec<Arc<CertifiedKey>>,
    ) -> Result<Arc<ClientConfig>, String> {
        roots.extend(self.roots.iter().cloned());
        let verifier = Verifier::new(roots, self.provider.clone()).map_err(|error| error.to_string())?;
        let config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| tls_message(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(ClientCertificates(clients)));
        Ok(Arc::new(config))
    }
}

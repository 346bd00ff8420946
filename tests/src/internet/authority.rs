//! The certificate authority of the test servers.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::wire::Stream;

/// A certificate authority for a test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    /// The TLS settings of each host.
    hosts: Mutex<BTreeMap<String, Arc<ServerConfig>>>,
}

impl Authority {
    /// A new authority.
    ///
    /// # Panics
    /// No randomness is available.
    pub fn new() -> Self {
        Self::named("authority of a test")
    }

    /// A new authority with this common name.
    ///
    /// # Panics
    /// No randomness is available.
    pub fn named(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key can be generated");
        let mut params = CertificateParams::new([]).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).expect("a certificate can be signed").pem();
        Self { issuer: Issuer::new(params, key), pem, hosts: Mutex::default() }
    }

    /// Its own certificate as PEM, for clients that trust it.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The TLS settings of a host name or an address.
    ///
    /// # Panics
    /// The name is invalid.
    pub fn host(&self, name: &str) -> Arc<ServerConfig> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.entry(name.to_owned()).or_insert_with(|| Arc::new(self.issue(name, |_| {}))).clone()
    }

    /// A certificate for `name` and its key, both as PEM, for an external program.
    ///
    /// # Panics
    /// The name is invalid.
    pub fn issue_pem(&self, name: &str) -> (String, String) {
        let (certificate, key) = self.sign(name, |_| {});
        (certificate.pem(), key.serialize_pem())
    }

    /// TLS settings with a certificate for `name`, whose parameters `change` may modify before it is signed.
    ///
    /// # Panics
    /// The name is invalid.
    pub fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
        let (certificate, key) = self.sign(name, change);
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider supports the default versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.into()], key)
            .expect("the key belongs to the certificate")
    }

    fn sign(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key can be generated");
        let mut params = CertificateParams::new([name.to_owned()]).expect("the host name is valid");
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate can be signed");
        (certificate, key)
    }

    pub(super) fn secure(&self, name: &str, stream: TcpStream) -> io::Result<Stream> {
        let connection = ServerConnection::new(self.host(name)).map_err(io::Error::other)?;
        Ok(Stream::Secure(Box::new(StreamOwned::new(connection, stream))))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

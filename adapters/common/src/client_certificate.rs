//! The certificates by which servers recognize a client.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{DistinguishedName, Error, SignatureScheme};

use crate::tls_error::{file_message, tls_message};

/// A client certificate, followed by those of its intermediate authorities, and its private key.
#[derive(Debug)]
pub(crate) struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Clone for ClientCertificate {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl ClientCertificate {
    /// Parses a certificate and its key. The error is the reason.
    pub(crate) fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, ClientCertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.map_err(|error| ClientCertificateError::Certificate(error.to_string()))?;
        if chain.is_empty() {
            let reason = "no certificate in the PEM text".to_owned();
            return Err(ClientCertificateError::Certificate(reason));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            ClientCertificateError::Key(match error {
                _ if is_encrypted(key) => ENCRYPTED.to_owned(),
                pem::Error::NoItemsFound => "no private key in the PEM text".to_owned(),
                error => error.to_string(),
            })
        })?;
        Ok(Self { chain, key })
    }

    /// Checks the key, and that it is that of the certificate.
    pub(crate) fn load(self, provider: &CryptoProvider) -> Result<CertifiedKey, ClientCertificateError> {
        CertifiedKey::from_der(self.chain, self.key, provider).map_err(|error| match error {
            Error::InvalidCertificate(error) => {
                ClientCertificateError::Certificate(file_message(&error).to_owned())
            }
            error => ClientCertificateError::Key(tls_message(&error)),
        })
    }
}

/// Why a client certificate is not usable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClientCertificateError {
    /// The text of the certificate is invalid, for this reason.
    Certificate(String),
    /// The text of the key is invalid, for this reason, or it is the key of another certificate.
    Key(String),
}

impl ClientCertificateError {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Certificate(reason) | Self::Key(reason) => reason,
        }
    }
}

const ENCRYPTED: &str = "the private key is encrypted; decrypt it with `openssl pkey -in KEY -out DECRYPTED`";

/// Whether a PEM text has an encrypted key, of PKCS #8 or of OpenSSL's older form.
fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// Chooses one of several certificates for a server.
#[derive(Debug)]
pub(crate) struct ClientCertificates(pub(crate) Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for ClientCertificates {
    fn resolve(&self, authorities: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let mut able = self.0.iter().filter(|own| own.key.choose_scheme(schemes).is_some());
        // If the server knows none of the authorities, its error tells more than that of no certificate.
        let first = able.clone().next();
        able.find(|own| is_from(own, authorities)).or(first).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Whether one of these authorities has issued a certificate of the chain.
fn is_from(own: &CertifiedKey, authorities: &[&[u8]]) -> bool {
    own.cert.iter().any(|certificate| {
        let issuer = webpki::EndEntityCert::try_from(certificate)
            .map(|certificate| DistinguishedName::in_sequence(certificate.issuer()));
        issuer.is_ok_and(|issuer| authorities.contains(&issuer.as_ref()))
    })
}

//! TLS of a server.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The certificate of a server, with its private key.
#[derive(Clone)]
pub struct Identity(TlsAcceptor);

impl Identity {
    /// Reads a certificate and its private key in PEM. The certificates of intermediate authorities may follow that of
    /// the server.
    ///
    /// # Errors
    /// Fails if a part is missing or invalid, or if the key is not that of the certificate.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, InvalidIdentity> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
        let chain = chain.map_err(|error| invalid(format_args!("the certificate: {error}")))?;
        if chain.is_empty() {
            return Err(invalid("there is no certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => invalid("there is no private key, or it is encrypted"),
            error => invalid(format_args!("the private key: {error}")),
        })?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
            .map_err(invalid)?;
        Ok(Self(Arc::new(config).into()))
    }

    /// Performs the handshake with a client, within this time.
    pub(super) async fn accept<S>(&self, stream: S, time: Duration) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        timeout(time, self.0.accept(stream)).await?
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// The error returned when a certificate or its private key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate or its key cannot be used: {0}")]
pub struct InvalidIdentity(String);

fn invalid(problem: impl fmt::Display) -> InvalidIdentity {
    InvalidIdentity(problem.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_has_its_own_key() {
        let [one, other] = ["a.example", "b.example"].map(|name| {
            let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            (made.cert.pem(), made.signing_key.serialize_pem())
        });
        assert!(Identity::from_pem(one.0.as_bytes(), one.1.as_bytes()).is_ok());
        let both = format!("{}{}", one.1, one.0);
        assert!(Identity::from_pem(both.as_bytes(), both.as_bytes()).is_ok());
        for (certificate, key, problem) in [
            (&*one.0, &*other.1, "KeyMismatch"),
            ("", &one.1, "there is no certificate"),
            (&one.0, "", "there is no private key"),
            (&one.0, &one.0, "there is no private key"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", &one.1, "the certificate: "),
        ] {
            let error = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap_err().to_string();
            assert!(error.to_lowercase().contains(&problem.to_lowercase()), "{problem}: {error}");
        }
    }
}

//! Verifies the certificates of servers, as all clients of the workspace do.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

/// Verifies certificate chains as rustls does. Like OpenSSL and Go, it also accepts the certificate of a trusted
/// authority from a server that presents it as its own: `openssl req -x509` makes such certificates.
///
/// This does not extend trust: with the key of a trusted authority, a server could use a certificate issued for
/// the same name just as well.
#[derive(Debug)]
pub(crate) struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
}

impl Verifier {
    /// A verifier that trusts these certificates. Those that rustls cannot parse are skipped; one must remain.
    pub(crate) fn new(
        trusted: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let mut anchors = RootCertStore::empty();
        anchors.add_parsable_certificates(trusted.iter().cloned());
        let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(anchors), provider).build()?;
        Ok(Self { chains, trusted })
    }
}

/// Why an authority's certificate is not accepted.
#[derive(Debug, thiserror::Error)]
#[error("the server presented the certificate of an authority (CA:TRUE) that is not itself trusted")]
struct UntrustedAuthority;

/// Why a handshake is not accepted.
#[derive(Debug, thiserror::Error)]
#[error("the server does not have the private key of the certificate that it presents")]
struct NotTheKey;

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.chains.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // Found after the period of validity was checked, and before the name and the issuer are.
            Err(error) if is_of_authority(&error) => {
                if !self.trusted.contains(certificate) {
                    return Err(Error::Other(OtherError(Arc::new(UntrustedAuthority))));
                }
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls12_signature(message, certificate, signed).map_err(of_handshake)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains.verify_tls13_signature(message, certificate, signed).map_err(of_handshake)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

/// Tells a wrong signature of the handshake from one of a certificate.
fn of_handshake(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            Error::Other(OtherError(Arc::new(NotTheKey)))
        }
        error => error,
    }
}

/// Returns whether an authority's certificate was presented as a server's.
fn is_of_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(error))) = error else { return false };
    matches!(error.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

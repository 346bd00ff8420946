//! The root certificates of a client.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::tls_error::NOT_X509;

/// The root certificates that a client trusts.
#[derive(Debug)]
pub(crate) struct Roots {
    /// The certificates. Some systems ship a few that rustls cannot parse; skip those.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    /// The reason why no server can be trusted, if no certificate is usable.
    pub(crate) distrust: Option<String>,
}

impl Roots {
    /// The system's root certificates and `added`.
    pub(crate) fn with_system(added: &[CertificateDer<'static>]) -> Self {
        // Files of the system's store that cannot be read are ignored.
        let system = rustls_native_certs::load_native_certs();
        let mut certificates = system.certs;
        certificates.extend_from_slice(added);
        let distrust = (!certificates.iter().any(|certificate| check(certificate).is_ok())).then(|| {
            let mut reason = "this system has no root certificates: install them, set SSL_CERT_FILE, or \
                add some to the client"
                .to_owned();
            for error in system.errors.iter().take(2) {
                reason.push_str("; ");
                reason.push_str(&error.to_string());
            }
            reason
        });
        Self { certificates, distrust }
    }
}

/// Parses the certificates in a PEM text, and checks that each can be a root. The error is the reason.
pub(crate) fn read_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("no certificate in the PEM text".to_owned());
    }
    if certificates.iter().any(|certificate| check(certificate).is_err()) {
        return Err(NOT_X509.to_owned());
    }
    Ok(certificates)
}

/// Checks that a certificate can be a root.
fn check(certificate: &[u8]) -> Result<(), rustls::Error> {
    RootCertStore::empty().add(CertificateDer::from(certificate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_root_certificates_are_refused() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for pem in ["", "no PEM at all", broken, "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
            assert!(read_pem(pem.as_bytes()).is_err(), "{pem:?}");
        }
    }
}

//! The errors of TLS, in words. rustls shows many of them as the names of its types.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InconsistentKeys, InvalidMessage, OtherError};

/// Returns what an error of TLS means for the client of a server. For authors of clients.
pub fn tls_message(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate_message(error),
        Error::AlertReceived(alert) => alert_message(*alert),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the server answers with something other than TLS".to_owned()
        }
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "the private key is not that of the certificate".to_owned()
        }
        Error::PeerIncompatible(why) => {
            format!("the server and this client have no version or algorithm of TLS in common ({why:?})")
        }
        Error::NoCertificatesPresented => "the server has no certificate".to_owned(),
        Error::General(why) => why.clone(),
        Error::Other(OtherError(error)) => error.to_string(),
        error => error.to_string(),
    }
}

/// The error of a certificate in a file.
pub(crate) const NOT_X509: &str = "a certificate in it is not a valid X.509 certificate";

/// Returns why a certificate in a file is not usable.
pub(crate) fn file_message(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Other(OtherError(error))
            if matches!(error.downcast_ref(), Some(webpki::Error::UnsupportedCertVersion)) =>
        {
            "a certificate in it is not of version 3 of X.509"
        }
        _ => NOT_X509,
    }
}

fn certificate_message(error: &CertificateError) -> String {
    const CERTIFICATE: &str = "the server's certificate";
    match error {
        CertificateError::Expired => format!("{CERTIFICATE} has expired"),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("{CERTIFICATE} has expired: it was valid until {}", date(*not_after))
        }
        CertificateError::NotValidYet => format!("{CERTIFICATE} is not valid yet"),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("{CERTIFICATE} is not valid yet, but from {}", date(*not_before))
        }
        CertificateError::NotValidForName => format!("{CERTIFICATE} is for another host name"),
        CertificateError::NotValidForNameContext { expected, presented } => {
            format!("{CERTIFICATE} is not valid for {}, {}", expected.to_str(), valid_for(presented))
        }
        CertificateError::UnknownIssuer => {
            format!("{CERTIFICATE} is from an unknown authority, which is not trusted")
        }
        CertificateError::BadSignature => {
            format!("{CERTIFICATE} is from an unknown authority: a trusted one has its name, but another key")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("{CERTIFICATE} is not meant for servers (its extended key usage lacks serverAuth)")
        }
        CertificateError::BadEncoding => format!("{CERTIFICATE} is not a valid X.509 certificate"),
        CertificateError::Revoked => format!("{CERTIFICATE} has been revoked"),
        CertificateError::UnhandledCriticalExtension => {
            format!("{CERTIFICATE} has a critical extension that is not supported")
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            format!("{CERTIFICATE}, or one of its authorities', is signed with an unsupported algorithm")
        }
        CertificateError::Other(OtherError(error)) => match error.downcast_ref() {
            Some(webpki::Error::UnsupportedCertVersion) => {
                format!("{CERTIFICATE} is not of version 3 of X.509")
            }
            Some(webpki::Error::NameConstraintViolation) => {
                format!("{CERTIFICATE} has a name that its authority must not certify")
            }
            _ => format!("{CERTIFICATE} is not usable: {error}"),
        },
        error => format!("{CERTIFICATE} is not usable: {error}"),
    }
}

/// Says which names a certificate has, as webpki shows them: `DnsName("a.example")`.
fn valid_for(names: &[String]) -> String {
    /// The number of names that are shown.
    const MOST: usize = 5;
    if names.is_empty() {
        return "since it has no subject alternative name".to_owned();
    }
    let mut text = "only for ".to_owned();
    for (number, name) in names.iter().take(MOST).enumerate() {
        let name = name.split_once('(').map_or(&**name, |(_, name)| name);
        let name = name.trim_end_matches(')').trim_matches('"');
        let _ = write!(text, "{}{}", if number > 0 { ", " } else { "" }, name.escape_debug());
    }
    if names.len() > MOST {
        let _ = write!(text, " and {} more", names.len() - MOST);
    }
    text
}

fn date(time: UnixTime) -> String {
    match SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(time.as_secs())) {
        // httpdate knows no later years, and neither does X.509.
        Some(at) if time.as_secs() < 253_402_300_800 => httpdate::fmt_http_date(at),
        _ => "the distant future".to_owned(),
    }
}

fn alert_message(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => "the server requires a client certificate".to_owned(),
        AlertDescription::NoCertificate
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        // Another authority has the name of one that the server trusts.
        | AlertDescription::DecryptError => {
            format!("the server refuses the client certificate, or requires one (alert {alert:?})")
        }
        AlertDescription::HandshakeFailure => {
            "the server refuses the handshake: no common algorithm, or it requires a client certificate \
             (alert HandshakeFailure)"
                .to_owned()
        }
        alert => format!("the server ended the connection with the alert {alert:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;

    use super::*;

    fn other_name(presented: &[&str]) -> Error {
        let presented = presented.iter().map(|name| (*name).to_owned()).collect();
        let expected = ServerName::try_from("a.example").unwrap();
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented })
    }

    #[test]
    fn an_old_certificate_is_told_from_a_broken_one() {
        let old = CertificateError::Other(OtherError(Arc::new(webpki::Error::UnsupportedCertVersion)));
        assert_eq!(file_message(&old), "a certificate in it is not of version 3 of X.509");
        assert_eq!(file_message(&CertificateError::BadEncoding), NOT_X509);
    }

    #[test]
    fn errors_are_shown_in_words() {
        let time = UnixTime::since_unix_epoch(Duration::from_secs(2_000_000_000));
        let expired = |at| {
            let not_after = UnixTime::since_unix_epoch(Duration::from_secs(at));
            Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after })
        };
        let of_webpki = |error: webpki::Error| {
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
        };
        for (error, said) in [
            (expired(1_000_000_000), "has expired: it was valid until Sun, 09 Sep 2001 01:46:40 GMT"),
            (expired(u64::MAX), "valid until the distant future"),
            (other_name(&[]), "is not valid for a.example, since it has no subject alternative name"),
            (
                other_name(&["DnsName(\"*.b.example\")", "IpAddress(::1)"]),
                "is not valid for a.example, only for *.b.example, ::1",
            ),
            (other_name(&["DnsName(\"\u{1b}[m\")"; 7]), "\\u{1b}[m and 2 more"),
            (of_webpki(webpki::Error::UnsupportedCertVersion), "is not of version 3 of X.509"),
            (of_webpki(webpki::Error::EmptyEkuExtension), "is not usable: "),
            (Error::AlertReceived(AlertDescription::CertificateRequired), "requires a client certificate"),
            (Error::General("why".to_owned()), "why"),
        ] {
            let message = tls_message(&error);
            assert!(message.contains(said), "{message}");
            assert!(!message.contains("Other(") && !message.contains("error:"), "{message}");
        }
    }
}

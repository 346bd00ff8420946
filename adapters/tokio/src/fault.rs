//! What a transport's error means to the session.

use std::error::Error;
use std::io;

use oci_proto::{Fault, FaultKind};

use crate::carrying::Classify;

/// The fault that `error` is: its kind, and the words of its whole chain of sources.
pub(crate) fn fault(error: &(dyn Error + 'static), classify: Option<&Classify>) -> Fault {
    let kind = classify.and_then(|classify| classify(error)).unwrap_or_else(|| kind(error));
    Fault::new(kind, words(error))
}

/// The kind of the most telling error in the chain.
fn kind(error: &(dyn Error + 'static)) -> FaultKind {
    let kinds: Vec<_> = chain(error).filter_map(kind_of_one).collect();
    // An untrusted certificate comes wrapped in failures to connect, which say less, and so does a server that
    // hangs up while the connection is made.
    [FaultKind::Tls, FaultKind::Timeout, FaultKind::Reset, FaultKind::Connect]
        .into_iter()
        .find(|kind| kinds.contains(kind))
        .unwrap_or(FaultKind::Reset)
}

fn kind_of_one(error: &(dyn Error + 'static)) -> Option<FaultKind> {
    if let Some(fault) = error.downcast_ref::<WithKind>() {
        Some(fault.kind)
    } else if error.is::<rustls::Error>() {
        Some(FaultKind::Tls)
    } else if error.is::<tokio::time::error::Elapsed>() {
        Some(FaultKind::Timeout)
    } else if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        error.is_connect().then_some(FaultKind::Connect)
    } else if let Some(error) = error.downcast_ref::<hyper::Error>() {
        error.is_timeout().then_some(FaultKind::Timeout)
    } else if let Some(error) = error.downcast_ref::<io::Error>() {
        kind_of_io(error)
    } else {
        // Another TLS library, as far as its words give it away.
        error.to_string().to_ascii_lowercase().contains("certificate").then_some(FaultKind::Tls)
    }
}

fn kind_of_io(error: &io::Error) -> Option<FaultKind> {
    match error.kind() {
        io::ErrorKind::TimedOut => Some(FaultKind::Timeout),
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => Some(FaultKind::Connect),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Some(FaultKind::Reset),
        _ => None,
    }
}

/// An error of this crate's own transport that knows its kind.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct WithKind {
    pub(crate) kind: FaultKind,
    pub(crate) message: String,
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // A chain in a circle is somebody's bug; this many say enough.
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        let error: &'a (dyn Error + 'static) = *error;
        // The source of an `io::Error` is that of the error inside it, which has something to say too.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
    .take(16)
}

/// The words of an error and of its sources, each said once, without what may be secret in a URL.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut words = String::new();
    for error in chain(error) {
        // It says only that this is a client, and what it was at: that is told by the kind.
        let says_nothing = error.is::<hyper_util::client::legacy::Error>() && error.source().is_some();
        let more = error.to_string();
        if says_nothing || more.is_empty() || words.contains(&more) {
            continue;
        }
        if !words.is_empty() {
            words.push_str(": ");
        }
        words.push_str(&more);
    }
    without_secrets(&words)
}

/// Drops user names, passwords and queries from the URLs in a text.
fn without_secrets(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let end = after.find(|c: char| c.is_whitespace() || "\"'`<>()".contains(c)).unwrap_or(after.len());
        let (url, following) = after.split_at(end);
        let (path, query) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
        let authority = path.find('/').unwrap_or(path.len());
        let host = path.get(..authority).and_then(|authority| authority.rfind('@')).map_or(0, |at| at + 1);
        kept.push_str(before);
        kept.push_str(path.get(host..).unwrap_or_default());
        if !query.is_empty() {
            kept.push_str("?...");
        }
        rest = following;
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Said(&'static str, #[source] Option<io::Error>);

    #[test]
    fn a_certificate_says_more_than_the_failure_to_connect_around_it() {
        let inner = io::Error::other(rustls::Error::General("unknown issuer".into()));
        let outer = io::Error::new(io::ErrorKind::ConnectionRefused, Said("client error", Some(inner)));
        let fault = fault(&outer, None);
        assert_eq!(fault.kind(), FaultKind::Tls);
        assert!(fault.message().contains("unknown issuer"), "{}", fault.message());
    }

    #[test]
    fn each_error_of_a_chain_is_said_once() {
        let error = Said("sending", Some(io::Error::new(io::ErrorKind::ConnectionReset, "peer reset")));
        let fault = fault(&error, None);
        assert_eq!((fault.kind(), fault.message()), (FaultKind::Reset, "sending: peer reset"));
    }

    #[test]
    fn a_user_may_know_better_what_an_error_is() {
        let error = Said("x509: unhappy", None);
        let fault = fault(&error, Some(&|error| error.is::<Said>().then_some(FaultKind::Tls)));
        assert_eq!(fault.kind(), FaultKind::Tls);
    }

    #[test]
    fn words_keep_no_query_and_no_password() {
        for (text, kept) in [
            (
                "for (https://u:p@cdn.example/a/b?sig=s3cret): reset",
                "for (https://cdn.example/a/b?...): reset",
            ),
            ("http://a/?x https://b@c", "http://a/?... https://c"),
            ("no URL? none", "no URL? none"),
            ("://", "://"),
        ] {
            assert_eq!(without_secrets(text), kept);
        }
    }
}

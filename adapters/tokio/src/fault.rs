//! Converts the errors of transports to faults.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use oci_proto::{Fault, FaultKind};
use oci_proto_common::tls_message;

use crate::http2_error::Http2Failure;

/// An error of a transport.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Returns the kind of a transport error, if known.
pub(crate) type Classify = dyn Fn(&(dyn Error + 'static)) -> Option<FaultKind> + Send + Sync;

/// Converts `error` to a fault with the messages of its whole chain of sources.
pub(crate) fn fault(error: &(dyn Error + 'static), classify: Option<&Classify>) -> Fault {
    let kind = classify.and_then(|classify| classify(error)).unwrap_or_else(|| kind(error));
    Fault::new(kind, messages(error))
}

/// Converts a panic in a transport.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Fault {
    let why = panic_message(panic);
    Fault::new(FaultKind::Unsupported, format_args!("the transport panicked: {why}"))
}

/// Returns the message of a panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// Returns the kind of the most specific error in the chain.
fn kind(error: &(dyn Error + 'static)) -> FaultKind {
    let kinds: Vec<_> = chain(error).filter_map(kind_of_one).collect();
    // A certificate error is wrapped in a less specific connect error, and so is a connection that the server
    // closes during the handshake.
    [
        FaultKind::OutOfReach,
        FaultKind::Unsupported,
        FaultKind::Proxy,
        FaultKind::Tls,
        FaultKind::NotSent,
        FaultKind::Timeout,
        FaultKind::Reset,
        FaultKind::Connect,
    ]
    .into_iter()
    .find(|kind| kinds.contains(kind))
    .unwrap_or(FaultKind::Reset)
}

fn kind_of_one(error: &(dyn Error + 'static)) -> Option<FaultKind> {
    if let Some(fault) = error.downcast_ref::<WithKind>() {
        Some(fault.0.kind())
    } else if error.is::<rustls::Error>() {
        Some(FaultKind::Tls)
    } else if error.is::<tokio::time::error::Elapsed>() {
        Some(FaultKind::Timeout)
    } else if let Some(failure) = Http2Failure::of_one(error) {
        match failure {
            Http2Failure::NotProcessed | Http2Failure::NeedsHttp1 => Some(FaultKind::NotSent),
            Http2Failure::Broken | Http2Failure::Other => None,
        }
    } else if error.is::<NotTaken>() {
        Some(FaultKind::NotSent)
    } else if error.is::<ConnectError>() {
        Some(FaultKind::Connect)
    } else if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        error.is_connect().then_some(FaultKind::Connect)
    } else if let Some(error) = error.downcast_ref::<hyper::Error>() {
        error.is_timeout().then_some(FaultKind::Timeout)
    } else if let Some(error) = error.downcast_ref::<io::Error>() {
        kind_of_io(error)
    } else {
        // Other TLS libraries are recognized by their messages.
        error.to_string().to_ascii_lowercase().contains("certificate").then_some(FaultKind::Tls)
    }
}

fn kind_of_io(error: &io::Error) -> Option<FaultKind> {
    match error.kind() {
        io::ErrorKind::TimedOut => Some(FaultKind::Timeout),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Some(FaultKind::Reset),
        _ => None,
    }
}

/// An error of this crate's transport, with its kind.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.0.message())]
pub(crate) struct WithKind(Fault);

impl From<Fault> for WithKind {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

/// The end of a new connection that had not taken its request.
#[derive(Debug)]
pub(crate) struct NotTaken(pub(crate) Arc<hyper::Error>);

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server closed the connection")
    }
}

impl Error for NotTaken {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// A failure to connect, for each request that waited for the connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectError(Arc<dyn Error + Send + Sync>);

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot connect")
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

impl From<BoxError> for ConnectError {
    fn from(error: BoxError) -> Self {
        Self(error.into())
    }
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // The limit guards against cyclic chains.
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        let error: &'a (dyn Error + 'static) = *error;
        // `io::Error::source` skips the inner error, whose message matters too.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
    .take(16)
}

/// Returns the messages of an error and its sources, without duplicates and without secrets in URLs.
fn messages(error: &(dyn Error + 'static)) -> String {
    let mut messages = String::new();
    let is_of_tls = chain(error).any(<dyn Error + 'static>::is::<rustls::Error>);
    for error in chain(error) {
        // These errors only say "client error" or "connection error" and the phase, which the kind expresses already.
        let says_nothing = error.is::<hyper_util::client::legacy::Error>() && error.source().is_some()
            || error.is::<ConnectError>()
            || is_of_tls && (error.is::<hyper::Error>() || error.is::<NotTaken>())
            || error.downcast_ref().is_some_and(hyper::Error::is_canceled);
        // This one repeats its inner error, which is next.
        let repeats = error.downcast_ref::<io::Error>().is_some_and(|error| error.get_ref().is_some());
        let more = error.downcast_ref().map_or_else(|| error.to_string(), tls_message);
        if says_nothing || repeats || more.is_empty() || messages.contains(&more) {
            continue;
        }
        if !messages.is_empty() {
            messages.push_str(": ");
        }
        messages.push_str(&more);
    }
    without_secrets(&messages)
}

/// Removes user names, passwords and queries from the URLs in a text.
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
    fn a_certificate_error_takes_precedence_over_the_connect_error_around_it() {
        let inner = io::Error::other(rustls::Error::General("unknown issuer".into()));
        let outer = io::Error::new(io::ErrorKind::ConnectionRefused, Said("client error", Some(inner)));
        let fault = fault(&outer, None);
        assert_eq!(fault.kind(), FaultKind::Tls);
        assert!(fault.message().contains("unknown issuer"), "{}", fault.message());
    }

    #[test]
    fn repeated_messages_in_a_chain_appear_once() {
        let error = Said("sending", Some(io::Error::new(io::ErrorKind::ConnectionReset, "peer reset")));
        let fault = fault(&error, None);
        assert_eq!((fault.kind(), fault.message()), (FaultKind::Reset, "sending: peer reset"));
    }

    /// A network may become unreachable while a response is read. The request was sent then.
    #[test]
    fn an_error_number_alone_is_no_error_of_connecting() {
        use io::ErrorKind::{
            AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable,
        };
        for kind in [AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkDown, NetworkUnreachable] {
            let error = Said("reading the response", Some(kind.into()));
            assert_eq!(fault(&error, None).kind(), FaultKind::Reset, "{kind}");
        }
    }

    #[test]
    fn the_users_classification_takes_precedence() {
        let error = Said("x509: unhappy", None);
        let fault = fault(&error, Some(&|error| error.is::<Said>().then_some(FaultKind::Tls)));
        assert_eq!(fault.kind(), FaultKind::Tls);
    }

    #[test]
    fn queries_and_passwords_are_removed() {
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

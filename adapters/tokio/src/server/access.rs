//! The access log.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{Method, StatusCode, Uri};
use oci_proto::server::User;

/// The parameters that a registry knows. The values of all others are left out of a log.
const PARAMETERS: [&str; 8] =
    ["artifactType", "digest", "digest-algorithm", "from", "last", "mount", "n", "tag"];

pub(super) type AccessHook = Arc<dyn Fn(&AccessRecord) + Send + Sync>;

/// A request and its response, for a log.
///
/// Its text is a line: peer, user, method, target, status, bytes received, bytes sent, and seconds. What is unknown is
/// a hyphen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccessRecord {
    /// The address of the client, if the registry has accepted the connection itself.
    pub peer: Option<SocketAddr>,
    /// The user, if the request had a valid login.
    pub user: Option<User>,
    /// The method.
    pub method: Method,
    /// The path and the query, without the values of parameters that are not part of the registry API.
    pub target: String,
    /// The status of the response, or `None` if the client was gone before.
    pub status: Option<StatusCode>,
    /// The number of bytes of the request's body that were received until the end of the response.
    pub received: u64,
    /// The number of bytes of the response's body that were handed to the connection.
    pub sent: u64,
    /// The time from the head of the request to the end of the response.
    pub duration: Duration,
}

impl fmt::Display for AccessRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn or_hyphen(value: Option<&dyn fmt::Display>) -> &dyn fmt::Display {
            value.unwrap_or(&"-")
        }
        let status = self.status.as_ref().map(StatusCode::as_str);
        write!(
            f,
            "{} {} {} {} {} {} {} {:.3}",
            or_hyphen(self.peer.as_ref().map(|peer| peer as _)),
            or_hyphen(self.user.as_ref().map(|user| user as _)),
            self.method,
            self.target,
            status.unwrap_or("-"),
            self.received,
            self.sent,
            self.duration.as_secs_f64()
        )
    }
}

/// A record that is written when it is dropped.
pub(super) struct Entry {
    began: Instant,
    received: Arc<AtomicU64>,
    record: AccessRecord,
    hook: AccessHook,
}

impl Entry {
    pub(super) fn begin(
        hook: AccessHook,
        peer: Option<SocketAddr>,
        head: &Parts,
        received: Arc<AtomicU64>,
    ) -> Self {
        let record = AccessRecord {
            peer,
            user: None,
            method: head.method.clone(),
            target: shown(&head.uri),
            status: None,
            received: 0,
            sent: 0,
            duration: Duration::ZERO,
        };
        Self { began: Instant::now(), received, record, hook }
    }

    pub(super) fn user(&mut self, user: &User) {
        self.record.user = Some(user.clone());
    }

    pub(super) fn status(&mut self, status: StatusCode) {
        self.record.status = Some(status);
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.record.sent += bytes as u64;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.record.received = self.received.load(Ordering::Relaxed);
        self.record.duration = self.began.elapsed();
        (self.hook)(&self.record);
    }
}

/// Returns a target for a log: without a host, which could have a password.
fn shown(uri: &Uri) -> String {
    let Some(query) = uri.query() else { return uri.path().to_owned() };
    let parameters = query.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if !PARAMETERS.contains(&name) => format!("{name}=..."),
        None if !PARAMETERS.contains(&parameter) => "...".to_owned(),
        _ => parameter.to_owned(),
    });
    format!("{}?{}", uri.path(), parameters.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_shown_without_secrets() {
        for (target, expected) in [
            ("/v2/", "/v2/"),
            ("/v2/a/tags/list?n=5&last=1.0", "/v2/a/tags/list?n=5&last=1.0"),
            (
                "/v2/a/blobs/uploads/?from=b&mount=sha256%3Aab",
                "/v2/a/blobs/uploads/?from=b&mount=sha256%3Aab",
            ),
            ("/v2/?token=secret&n=5&sig=a=b", "/v2/?token=...&n=5&sig=..."),
            ("/v2/?secret", "/v2/?..."),
            ("http://ann:secret@host/v2/?n=1", "/v2/?n=1"),
        ] {
            assert_eq!(shown(&target.parse().unwrap()), expected);
        }
    }
}

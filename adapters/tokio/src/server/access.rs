//! The access log.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use http::request::Parts;
use http::{Method, StatusCode, Uri, Version};
use httpdate::fmt_http_date;
use oci_proto::server::User;

/// The parameters that a registry knows. The values of all others are left out of a log.
const PARAMETERS: [&str; 8] =
    ["artifactType", "digest", "digest-algorithm", "from", "last", "mount", "n", "tag"];

pub(super) type AccessHook = Arc<dyn Fn(&AccessRecord) + Send + Sync>;

/// A request and its response, for a log.
///
/// Its text is a line in the Common Log Format, and two more fields: the bytes received, and the seconds that the request
/// took. What is unknown is a hyphen.
///
/// ```text
/// 127.0.0.1 - ann [27/Nov/2026:19:19:21 +0000] "PUT /v2/app/manifests/1.0 HTTP/1.1" 201 0 945 0.004
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessRecord {
    /// The address of the client, if the registry has accepted the connection itself.
    pub peer: Option<SocketAddr>,
    /// The user, if the request had a valid login.
    pub user: Option<User>,
    /// The time at which the head of the request arrived.
    pub time: SystemTime,
    /// The method.
    pub method: Method,
    /// The path and the query, without the values of parameters that are not part of the registry API.
    pub target: String,
    /// The version of HTTP.
    pub version: Version,
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
        let unknown = || "-".to_owned();
        write!(
            f,
            r#"{} - {} [{}] "{} {} {:?}" {} {} {} {:.3}"#,
            self.peer.map_or_else(unknown, |peer| peer.ip().to_string()),
            self.user.as_ref().map_or_else(unknown, |user| escaped(user.as_str())),
            date(self.time),
            self.method,
            escaped(&self.target),
            self.version,
            self.status.as_ref().map_or("-", StatusCode::as_str),
            self.sent,
            self.received,
            self.duration.as_secs_f64()
        )
    }
}

/// Returns a text that does not end a field of a line.
fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        ' ' => r"\x20".to_owned(),
        '"' | '\\' => format!("\\{c}"),
        c => c.to_string(),
    };
    text.chars().map(escape).collect()
}

/// Returns a time in the form of the Common Log Format.
fn date(time: SystemTime) -> String {
    // The crate has no dates before 1970, and none after 9999.
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let date = fmt_http_date(time.clamp(SystemTime::UNIX_EPOCH, last));
    match date.split([' ', ',']).filter(|word| !word.is_empty()).collect::<Vec<_>>()[..] {
        [_, day, month, year, time, _] => format!("{day}/{month}/{year}:{time} +0000"),
        _ => date,
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
            time: SystemTime::now(),
            method: head.method.clone(),
            target: shown(&head.uri),
            version: head.version,
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
    fn a_date_is_that_of_a_log() {
        let at = |seconds| date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "01/Jan/1970:00:00:00 +0000");
        assert_eq!(at(951_782_400), "29/Feb/2000:00:00:00 +0000");
        assert_eq!(at(253_402_300_799), "31/Dec/9999:23:59:59 +0000");
        assert_eq!(at(253_402_300_800), "31/Dec/9999:23:59:59 +0000");
        assert_eq!(date(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), "01/Jan/1970:00:00:00 +0000");
    }

    #[test]
    fn a_line_has_the_same_fields_whatever_a_client_sends() {
        let record = AccessRecord {
            peer: Some("[::1]:9".parse().unwrap()),
            user: Some(r#"a "b\"#.parse().unwrap()),
            time: SystemTime::UNIX_EPOCH,
            method: Method::GET,
            target: r#"/v2/"x""#.to_owned(),
            version: Version::HTTP_11,
            status: None,
            received: 5,
            sent: 7,
            duration: Duration::from_micros(1500),
        };
        let request = r#""GET /v2/\"x\" HTTP/1.1""#;
        let expected = format!(r#"::1 - a\x20\"b\\ [01/Jan/1970:00:00:00 +0000] {request} - 7 5 0.002"#);
        assert_eq!(record.to_string(), expected);
    }

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

//! Hints that tell users how to resolve an error.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::Method;

use crate::error::fault::FaultKind;
use crate::error::{Cause, Error, Refusal, Responder};

impl Error {
    /// Returns a hint for the user on how to resolve the error, if one is known.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        match self.cause() {
            Cause::Answered(refusal) => match self.of_endpoint(refusal) {
                Some(hint) => Some(hint.into()),
                None => of_refusal(refusal),
            },
            Cause::Transport(fault) => of_fault(fault.kind()).map(Cow::Borrowed),
            _ => None,
        }
    }
}

impl Error {
    /// Returns the hint for a request that many registries do not support.
    fn of_endpoint(&self, refusal: &Refusal) -> Option<&'static str> {
        if refusal.by != Responder::Registry {
            return None;
        }
        let (method, url) = self.request()?;
        let path = url.split('?').next().unwrap_or_default();
        if *method == Method::GET && path.ends_with("/v2/_catalog") {
            return match refusal.status.as_u16() {
                401 | 403 if refusal.with_login => {
                    Some("the registry offers no list of its repositories, or not to this login")
                }
                401 | 403 => Some("the registry offers no list of its repositories, or only with a login"),
                404 | 405 => Some("the registry offers no list of its repositories"),
                _ => None,
            };
        }
        if *method == Method::GET && path.ends_with("/v2/") && refusal.status.as_u16() == 404 {
            return Some("check the name of the registry; the server may not be one");
        }
        if [Method::POST, Method::PUT, Method::PATCH].contains(method) {
            return of_refused_write(refusal);
        }
        if *method != Method::DELETE {
            return None;
        }
        match path.rsplit_once("/manifests/") {
            // Older versions of Docker's registry read the tag as a digest.
            Some((_, tag))
                if !tag.contains(':') && (self.is_unsupported() || has_code(refusal, "DIGEST_INVALID")) =>
            {
                Some(
                    "the registry deletes no single tags, or nothing at all; deleting the manifest by its digest \
                     would also remove all other tags that name it",
                )
            }
            _ if self.is_unsupported() => Some("the registry does not allow this to be deleted"),
            _ => None,
        }
    }
}

fn has_code(refusal: &Refusal, code: &str) -> bool {
    refusal.errors.iter().any(|error| error.code == code)
}

/// A hint for a registry that refuses an upload or a document.
fn of_refused_write(refusal: &Refusal) -> Option<&'static str> {
    let is_immutable = refusal.errors.iter().any(|error| {
        let text = error.message.to_ascii_lowercase();
        text.contains("immutable") || text.contains("already exist")
    });
    match refusal.status.as_u16() {
        // Registries with immutable tags answer 400, 403, 409 or 412.
        400 | 403 | 409 | 412 if is_immutable || has_code(refusal, "TAG_INVALID") => {
            Some("the tag may be immutable, and name other content already; choose another tag")
        }
        409 => Some("it conflicts with what the registry has; if the tag is immutable, choose another one"),
        405 => Some("the registry is read-only, or accepts no content in this repository"),
        _ if has_code(refusal, "UNSUPPORTED") => {
            Some("the registry does not support this; it may be read-only, or accept no content of this type")
        }
        413 => Some("the registry, or a proxy in front of it, limits the size of requests"),
        404 => Some("the repository may not exist; some registries require that it is created first"),
        _ => None,
    }
}

fn of_fault(kind: FaultKind) -> Option<&'static str> {
    match kind {
        FaultKind::Connect => Some("check the host name, the port and the proxy settings"),
        FaultKind::Proxy => Some("set the user name and the password in the proxy's URL"),
        FaultKind::Tls => {
            Some("check the host name and its certificate; a registry without TLS requires plain HTTP")
        }
        FaultKind::Timeout => Some("the host did not respond in time; try again, or raise the timeout"),
        _ => None,
    }
}

fn of_refusal(refusal: &Refusal) -> Option<Cow<'static, str>> {
    let retry = |fallback: &str| match refusal.retry_after {
        Some(wait) => format!("retry after {}", RoundedUp(wait)),
        None => fallback.to_owned(),
    };
    let fixed = match (refusal.status.as_u16(), refusal.by, refusal.with_login) {
        (429, _, login) => {
            let or_log_in = if login { "" } else { ", or log in" };
            return Some(format!("rate limited; {}{or_log_in}", retry("try again later")).into());
        }
        (500..=599, ..) => {
            return Some(format!("server error; {}", retry("try again later")).into());
        }
        // Storage behind a redirect knows neither the registry's logins nor its repositories.
        (401 | 403 | 404, Responder::Elsewhere, _) => {
            "the registry redirected the request there; try again, or report it to the registry's operator"
        }
        (404, Responder::TokenServer, _) => return None,
        (401 | 403, _, true) => "the login is wrong, or you lack permission, or it does not exist",
        (401, _, false) => "log in to the registry, or pass a user name and password; it may also not exist",
        (403, _, false) => "a login may help; otherwise you lack permission, or it does not exist",
        (404, ..) => "check the repository and the tag or digest; it may also be private",
        (407, ..) => "the proxy requires a login; add it to the proxy URL",
        _ => return None,
    };
    Some(fixed.into())
}

/// A duration in its most readable unit, rounded up.
struct RoundedUp(Duration);

impl fmt::Display for RoundedUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs().saturating_add(u64::from(self.0.subsec_nanos() > 0));
        let (unit, name) = match seconds {
            ..=120 => (1, "s"),
            121..=7200 => (60, "min"),
            7201..=172_800 => (3600, "h"),
            172_801.. => (86_400, "days"),
        };
        write!(f, "{} {name}", seconds.div_ceil(unit))
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::error::RegistryError;

    fn hint(status: u16, by: Responder, retry_after: Option<u64>, with_login: bool) -> String {
        let refusal = Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            by,
            errors: Vec::new(),
            retry_after: retry_after.map(Duration::from_secs),
            challenged: false,
            with_login,
        };
        Error::new(refusal).hint().unwrap_or_default().into_owned()
    }

    #[test]
    fn a_rate_limit_hint_includes_the_delay() {
        let by = Responder::Registry;
        for (after, login, expected) in [
            (None, false, "try again later, or log in"),
            (Some(30), false, "retry after 30 s, or log in"),
            (Some(3601), true, "retry after 61 min"),
            (Some(0), true, "retry after 0 s"),
        ] {
            assert_eq!(hint(429, by, after, login), format!("rate limited; {expected}"));
        }
        assert_eq!(hint(503, by, Some(121), false), "server error; retry after 3 min");
        assert_eq!(hint(503, by, None, false), "server error; try again later");
    }

    #[test]
    fn only_registries_and_token_servers_suggest_a_login() {
        for status in [401, 403] {
            for by in [Responder::Registry, Responder::TokenServer] {
                assert!(hint(status, by, None, false).contains("log"), "{status} {by:?}");
            }
            assert!(!hint(status, Responder::Elsewhere, None, false).contains("log"), "{status}");
        }
    }

    #[test]
    fn requests_that_many_registries_do_not_support_have_their_own_hints() {
        let (tag, digest) = ("/v2/a/manifests/1", "/v2/a/manifests/sha256:00");
        let (delete, get) = (Method::DELETE, Method::GET);
        let single = "deletes no single tags";
        for (method, path, status, code, expected) in [
            (&delete, tag, 405, "", single),
            (&delete, tag, 400, "UNSUPPORTED", single),
            (&delete, tag, 400, "DIGEST_INVALID", single),
            (&delete, tag, 404, "", "check the repository"),
            (&delete, digest, 405, "", "does not allow this to be deleted"),
            (&delete, digest, 400, "UNSUPPORTED", "does not allow this to be deleted"),
            (&delete, digest, 400, "DIGEST_INVALID", ""),
            (&delete, "/v2/a/blobs/sha256:00", 405, "", "does not allow this to be deleted"),
            (&get, tag, 405, "", ""),
            (&get, "/v2/_catalog?n=***", 404, "", "offers no list of its repositories"),
            (&get, "/v2/_catalog", 401, "", "or only with a login"),
            (&get, "/v2/_catalog", 500, "", "server error"),
            (&get, "/v2/", 404, "", "the server may not be one"),
        ] {
            let refusal = Refusal {
                status: StatusCode::from_u16(status).unwrap(),
                by: Responder::Registry,
                errors: vec![RegistryError { code: code.to_owned(), message: String::new() }],
                retry_after: None,
                challenged: false,
                with_login: false,
            };
            let error = Error::of_request(method, format!("https://h{path}"), 0, refusal);
            let hint = error.hint().unwrap_or_default();
            assert!(hint.contains(expected) && hint.is_empty() == expected.is_empty(), "{error}: {hint}");
        }
    }

    #[test]
    fn refused_content_has_hints_of_its_own() {
        let hint = |method: &Method, status: u16, by, code: &str, message: &str| {
            let error = RegistryError { code: code.to_owned(), message: message.to_owned() };
            let refusal = Refusal {
                status: StatusCode::from_u16(status).unwrap(),
                by,
                errors: vec![error],
                retry_after: None,
                challenged: false,
                with_login: true,
            };
            let error = Error::of_request(method, "https://r.example/v2/a".to_owned(), 0, refusal);
            error.hint().unwrap_or_default().into_owned()
        };
        let (registry, ecr) =
            (Responder::Registry, "the tag '1' cannot be overwritten because it is immutable");
        for (method, status, code, message, expected) in [
            (Method::PUT, 400, "TAG_INVALID", ecr, "the tag may be immutable"),
            (Method::PUT, 412, "PRECONDITION", "configured as Immutable", "the tag may be immutable"),
            (Method::PUT, 409, "DENIED", "no", "if the tag is immutable, choose another one"),
            (Method::POST, 405, "UNSUPPORTED", "", "read-only"),
            (Method::PATCH, 413, "", "", "limits the size"),
            (Method::POST, 404, "NAME_UNKNOWN", "", "created first"),
            (Method::POST, 403, "DENIED", "", "you lack permission"),
            (Method::HEAD, 404, "", "", "check the repository and the tag"),
            (Method::PUT, 400, "MANIFEST_INVALID", "", ""),
        ] {
            let found = hint(&method, status, registry, code, message);
            assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{status}: {found}");
        }
        assert_eq!(hint(&Method::PUT, 405, Responder::Elsewhere, "", ""), "");
    }

    #[test]
    fn waits_are_rounded_up() {
        for (seconds, expected) in [
            (0, "0 s"),
            (120, "120 s"),
            (121, "3 min"),
            (7200, "120 min"),
            (7201, "3 h"),
            (31_536_000, "365 days"),
            (u64::MAX, "213503982334602 days"),
        ] {
            assert_eq!(RoundedUp(Duration::from_secs(seconds)).to_string(), expected);
        }
        assert_eq!(RoundedUp(Duration::from_millis(1)).to_string(), "1 s");
        assert_eq!(RoundedUp(Duration::MAX).to_string(), "213503982334602 days");
    }
}

//! What to do about an error, where that is known.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::error::fault::FaultKind;
use crate::error::{Cause, Error, Refusal, Responder};

impl Error {
    /// What to do about it, where that is known: a sentence for a person.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        match self.cause() {
            Cause::Answered(refusal) => of_refusal(refusal),
            Cause::Transport(fault) => of_fault(fault.kind()).map(Cow::Borrowed),
            _ => None,
        }
    }
}

fn of_fault(kind: FaultKind) -> Option<&'static str> {
    match kind {
        FaultKind::Connect => Some("check the host's name, the port, and the proxy settings"),
        FaultKind::Tls => {
            Some("check the host's name and its certificate; a registry without TLS needs plain http")
        }
        FaultKind::Timeout => Some("the host does not answer in time; try again, or allow more time"),
        _ => None,
    }
}

fn of_refusal(refusal: &Refusal) -> Option<Cow<'static, str>> {
    let again = |fallback: &str| match refusal.retry_after {
        Some(wait) => format!("try again in {}", Roughly(wait)),
        None => fallback.to_owned(),
    };
    let fixed = match (refusal.status.as_u16(), refusal.by, refusal.with_login) {
        (429, _, login) => {
            let or = if login { "" } else { ", or log in" };
            return Some(format!("the registry limits how much it serves; {}{or}", again("wait")).into());
        }
        (500..=599, ..) => {
            return Some(format!("the server is in trouble; {}", again("try again later")).into());
        }
        // What is stored there knows neither the login nor the names of the registry.
        (401 | 403 | 404, Responder::Elsewhere, _) => {
            "the registry sent us there; try again, or tell whoever runs it"
        }
        (404, Responder::TokenServer, _) => return None,
        (401 | 403, _, true) => "the login may be wrong or lack the right to this, or it does not exist",
        (401, _, false) => "log in to the registry, or give a user's name and password; or it does not exist",
        (403, _, false) => "a login may help, or it does not exist",
        (404, ..) => "check the repository, the tag or digest, and that it is not private",
        (407, ..) => "the proxy wants a login, which belongs into its URL",
        _ => return None,
    };
    Some(fixed.into())
}

/// A duration as people say it, never too short.
struct Roughly(Duration);

impl fmt::Display for Roughly {
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

    fn hint(status: u16, by: Responder, retry_after: Option<u64>, with_login: bool) -> String {
        let refusal = Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            by,
            errors: Vec::new(),
            retry_after: retry_after.map(Duration::from_secs),
            with_login,
        };
        Error::new(refusal).hint().unwrap_or_default().into_owned()
    }

    #[test]
    fn a_limit_says_when_to_come_back() {
        let by = Responder::Registry;
        for (after, login, expected) in [
            (None, false, "wait, or log in"),
            (Some(30), false, "try again in 30 s, or log in"),
            (Some(3601), true, "try again in 61 min"),
            (Some(0), true, "try again in 0 s"),
        ] {
            assert_eq!(
                hint(429, by, after, login),
                format!("the registry limits how much it serves; {expected}")
            );
        }
        assert_eq!(hint(503, by, Some(121), false), "the server is in trouble; try again in 3 min");
        assert_eq!(hint(503, by, None, false), "the server is in trouble; try again later");
    }

    #[test]
    fn a_login_helps_with_registries_and_nowhere_else() {
        for status in [401, 403] {
            for by in [Responder::Registry, Responder::TokenServer] {
                assert!(hint(status, by, None, false).contains("log"), "{status} {by:?}");
            }
            assert!(!hint(status, Responder::Elsewhere, None, false).contains("log"), "{status}");
        }
    }

    #[test]
    fn waits_are_rounded_up() {
        for (seconds, told) in [
            (0, "0 s"),
            (120, "120 s"),
            (121, "3 min"),
            (7200, "120 min"),
            (7201, "3 h"),
            (31_536_000, "365 days"),
            (u64::MAX, "213503982334602 days"),
        ] {
            assert_eq!(Roughly(Duration::from_secs(seconds)).to_string(), told);
        }
        assert_eq!(Roughly(Duration::from_millis(1)).to_string(), "1 s");
        assert_eq!(Roughly(Duration::MAX).to_string(), "213503982334602 days");
    }
}

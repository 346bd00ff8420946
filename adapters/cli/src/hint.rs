//! What to do about an error: the core's word, or a better one where an option of the command helps.

use std::borrow::Cow;

use oci_proto::{Cause, Error, Fault, FaultKind, InvalidRequest, LimitExceeded, Refusal, Responder};

pub(crate) fn hint(error: &Error) -> Option<Cow<'static, str>> {
    let in_plain_text = error.request().is_some_and(|(_, url)| url.starts_with("http:"));
    let own = match error.cause() {
        Cause::Transport(fault) => of_fault(fault, in_plain_text),
        Cause::Answered(refusal) => of_refusal(refusal, in_plain_text),
        Cause::Limit(LimitExceeded::Deadline) => Some("allow more time with --timeout SECONDS"),
        Cause::Request(InvalidRequest::NoPlatform { .. }) => {
            Some("choose one of these with --platform, or none")
        }
        _ => None,
    };
    own.map(Cow::Borrowed).or_else(|| error.hint())
}

const PROXY_LOGIN: &str =
    "the proxy wants a login, which belongs into its URL: http://USER:PASSWORD@HOST:PORT";

fn of_fault(fault: &Fault, in_plain_text: bool) -> Option<&'static str> {
    let says = |words: &str| fault.message().contains(words);
    match fault.kind() {
        // Both adapters have rustls, and its words.
        FaultKind::Tls if says("InvalidContentType") => {
            Some("what answers there does not speak TLS; --plain-http does without")
        }
        FaultKind::Tls if says("not valid for name") => {
            Some("name the registry as its certificate does, or check where the name leads")
        }
        // The latter where an authority that is trusted has the same name.
        FaultKind::Tls if says("UnknownIssuer") || says("BadSignature") => {
            Some("--ca-file FILE trusts the authority of a private registry")
        }
        FaultKind::Tls if says("certificate expired") || says("not valid yet") => {
            Some("check the clock of this machine; if it is right, tell whoever runs the registry")
        }
        FaultKind::Tls => Some(
            "check the host's name; --ca-file FILE trusts a private authority, --plain-http does without TLS",
        ),
        FaultKind::Connect if says("proxy authorization required") || says("responded 407") => {
            Some(PROXY_LOGIN)
        }
        FaultKind::Connect if says("through the proxy") => Some(
            "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names that proxy; NO_PROXY=HOST goes there without one",
        ),
        FaultKind::Connect => Some(
            "check the host's name and the port; where a proxy is needed, HTTPS_PROXY=http://HOST:PORT names it",
        ),
        FaultKind::Timeout => {
            Some("check the host's name, the port and the proxy settings, or try again later")
        }
        FaultKind::Reset if in_plain_text => Some(WANTS_TLS),
        FaultKind::Reset if says("tls handshake eof") => {
            Some("what answers there may not speak TLS (--plain-http does without), or be no registry")
        }
        FaultKind::Reset => Some("check the host and the port; what answers there may not be a registry"),
        FaultKind::Credentials => Some(
            "--auth-file FILE reads logins from that file only; --username NAME with --password-stdin needs none",
        ),
        _ => None,
    }
}

// Nothing else has this machine spoken to with TLS.
const WANTS_TLS: &str = "what answers there may want TLS: leave out --plain-http, and for this machine give \
     --ca-file FILE; or it is no registry";

fn of_refusal(refusal: &Refusal, in_plain_text: bool) -> Option<&'static str> {
    match refusal.status.as_u16() {
        401 | 403 if !refusal.with_login && refusal.by != Responder::Elsewhere => Some(
            "log in with `docker login` or `podman login`, or use --username NAME and --password-stdin; or it \
             does not exist",
        ),
        // A registry gives a code; servers of TLS that hear plain text do not.
        400 if in_plain_text && refusal.errors.iter().all(|error| error.code.is_empty()) => Some(WANTS_TLS),
        407 => Some(PROXY_LOGIN),
        _ => None,
    }
}

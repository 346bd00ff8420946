//! Hints for errors: the core's, or a better one if an option of the command helps.

use std::borrow::Cow;

use oci_proto::{
    Cause, Error, Fault, FaultKind, InvalidRequest, LimitExceeded, Misbehaviour, Reference, Refusal,
    Responder,
};

use crate::args::reference::{WHOLE_DIGESTS, is_abbreviated};

/// A hint for the error of an operation on `name`.
pub(crate) fn hint(error: &Error, name: &Reference) -> Option<Cow<'static, str>> {
    if let Some(hint) = of_missing(error, name) {
        return Some(hint.into());
    }
    if let Cause::Request(InvalidRequest::OtherDigest { root, .. }) = error.cause() {
        return Some(format!("use {}, or a tag", name.at(root.clone())).into());
    }
    of_any(error)
}

/// A hint for a registry that refuses a login, which it was asked about.
pub(crate) fn of_login(error: &Error) -> Option<Cow<'static, str>> {
    let Cause::Answered(refusal) = error.cause() else { return None };
    let is_refused = refusal.with_login && error.is_unauthorized() && refusal.by != Responder::Elsewhere;
    is_refused.then(|| {
        "the user name or the password is wrong; some registries require an access token as the password"
            .into()
    })
}

/// A hint for any error.
pub(crate) fn of_any(error: &Error) -> Option<Cow<'static, str>> {
    let in_plain_text = error.request().is_some_and(|(_, url)| url.starts_with("http:"));
    let specific = match error.cause() {
        Cause::Transport(fault) if sends_content(error) && fault.kind() == FaultKind::Reset => Some(CUT_OFF),
        Cause::Transport(fault) if sends_content(error) && fault.kind() == FaultKind::Storage => {
            Some(BAD_SOURCE)
        }
        Cause::Transport(fault) => of_fault(fault, in_plain_text),
        Cause::Answered(refusal) => of_refusal(refusal, in_plain_text),
        Cause::Limit(LimitExceeded::Deadline) => Some("allow more time with --timeout SECONDS"),
        Cause::Misbehaved(Misbehaviour::PrivateAddress { .. }) => Some(PRIVATE_ADDRESS),
        Cause::Request(InvalidRequest::NoPlatform { .. }) => Some(OTHER_PLATFORM),
        Cause::Request(InvalidRequest::Route(_)) => {
            Some("the rules are in registries.conf; --no-registries-conf ignores them")
        }
        _ => None,
    };
    specific.map(Cow::Borrowed).or_else(|| error.hint())
}

pub(crate) const OTHER_PLATFORM: &str = "select one of these with --platform, or omit it";

/// Returns whether the request sends content. Then the registry has answered earlier requests.
fn sends_content(error: &Error) -> bool {
    error.request().is_some_and(|(method, _)| ["PUT", "PATCH"].contains(&method.as_str()))
}

/// A hint for content that the registry does not have, if its name may be meant otherwise.
fn of_missing(error: &Error, name: &Reference) -> Option<String> {
    let (method, url) = error.request().filter(|_| error.is_not_found())?;
    if url.split('?').next().is_some_and(|path| path.ends_with("/tags/list")) {
        return Some("check the repository; it may also be private".to_owned());
    }
    let private = "otherwise check the repository and the digest; it may also be private";
    if method.as_str() == "DELETE" {
        return Some(match name.digest() {
            Some(_) if url.contains("/blobs/") => format!("if it is a manifest, omit --blob; {private}"),
            Some(_) => format!("if it is a blob, delete it with --blob; {private}"),
            None => "check the repository and the tag; it may also be private".to_owned(),
        });
    }
    match (name.digest(), name.tag()) {
        // It may also be content under the reference.
        (Some(digest), _) if !url.contains(&digest.to_string()) => None,
        (Some(_), _) if url.contains("/blobs/") => {
            Some(format!("if it is a manifest, use `ocip manifest {name}`; {private}"))
        }
        (Some(_), None) => Some(format!("if it is a blob, use `ocip blob {name}`; {private}")),
        (None, Some(tag)) if tag.as_str().len() >= 12 && is_abbreviated(tag.as_str()) => {
            Some(format!("check the repository and the tag; {WHOLE_DIGESTS}"))
        }
        _ => None,
    }
}

const PROXY_LOGIN: &str =
    "add the login of the proxy to its URL, or correct it: http://USER:PASSWORD@HOST:PORT";

const CUT_OFF: &str = "the registry or a proxy closed the connection while content was sent; run the command again to \
     send what is missing";

const BAD_SOURCE: &str =
    "if the source is a layout or an archive, `ocip check` lists everything that is missing or wrong in it";

fn of_fault(fault: &Fault, in_plain_text: bool) -> Option<&'static str> {
    let contains = |words: &str| fault.message().contains(words);
    match fault.kind() {
        // Both adapters report the messages of `oci_proto_common::tls_message`.
        FaultKind::Tls if contains("the certificate file ") => {
            Some("correct the file; its directory has the certificates for this registry")
        }
        FaultKind::Tls if contains("other than TLS") => {
            Some("the server does not speak TLS; use --plain-http to connect without it")
        }
        FaultKind::Tls if contains("is not valid for ") => {
            Some("use a host name from the certificate, or check which host the name resolves to")
        }
        FaultKind::Tls if contains("unknown authority") => {
            Some("use --ca-file FILE to trust a private certificate authority")
        }
        FaultKind::Tls if contains("CA:TRUE") => Some(
            "use --ca-file FILE with exactly that certificate, or give the server one with \
             basicConstraints=CA:FALSE",
        ),
        FaultKind::Tls if contains("has expired") || contains("not valid yet") => {
            Some("check the clock of this machine; if it is right, contact the registry's operator")
        }
        FaultKind::Tls if contains("client certificate") => {
            Some("use --cert FILE and --key FILE with a certificate that the registry accepts")
        }
        FaultKind::Tls => {
            Some("check the host name; --ca-file FILE trusts a private authority, --plain-http disables TLS")
        }
        FaultKind::Proxy => Some(PROXY_LOGIN),
        FaultKind::Connect if contains("through the proxy") => {
            Some("check HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, or set NO_PROXY=HOST to bypass the proxy")
        }
        FaultKind::Connect => {
            Some("check the host name and the port; if a proxy is required, set HTTPS_PROXY=http://HOST:PORT")
        }
        FaultKind::Timeout => {
            Some("check the host name, the port and the proxy settings, or try again later")
        }
        FaultKind::Reset if in_plain_text => Some(REQUIRES_TLS),
        FaultKind::Reset if contains("tls handshake eof") => {
            Some("the server may not speak TLS (use --plain-http), or may not be a registry")
        }
        FaultKind::Reset => Some("check the host name and the port; the server may not be a registry"),
        FaultKind::OutOfReach => Some(PRIVATE_ADDRESS),
        FaultKind::Credentials => {
            Some("use --auth-file FILE to read only that file, or --username NAME with --password-stdin")
        }
        _ => None,
    }
}

const PRIVATE_ADDRESS: &str = "if you trust the registry, use --allow-private-addresses";

// --ca-file is the only way to use TLS with a loopback host.
const REQUIRES_TLS: &str = "the server may require TLS (omit --plain-http; for a loopback host, use \
     --ca-file FILE), or may not be a registry";

fn of_refusal(refusal: &Refusal, in_plain_text: bool) -> Option<&'static str> {
    match refusal.status.as_u16() {
        401 | 403 if !refusal.with_login && refusal.by != Responder::Elsewhere => Some(
            "log in with `ocip login`, `docker login` or `podman login`, or use --username NAME with \
             --password-stdin; it may also not exist",
        ),
        // A registry's error has a code; that of a TLS server which receives plain text has none.
        400 if in_plain_text && refusal.errors.iter().all(|error| error.code.is_empty()) => {
            Some(REQUIRES_TLS)
        }
        407 => Some(PROXY_LOGIN),
        _ => None,
    }
}

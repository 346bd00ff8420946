//! Whether the error of one of several copies concerns the others, too.

use oci_proto::layout::BLOBS;
use oci_proto::{Cause, Error, FaultKind, InvalidRequest, LimitExceeded, Misbehaviour, Responder};
use oci_proto_layout::{LayoutError, LayoutErrorKind};

/// What an error concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concern {
    /// The content of one tag. Others may still be copied.
    Content,
    /// Every tag: a registry, the network, a login, a disk, or something unknown.
    Everything,
}

impl Concern {
    /// Returns what the error of an operation concerns.
    pub(crate) fn of(error: &Error) -> Self {
        if error.is_unsupported() {
            return Self::Everything;
        }
        let sends = error.request().is_some_and(|(method, _)| !["GET", "HEAD"].contains(&method.as_str()));
        match error.cause() {
            Cause::Answered(refusal) => Self::of_status(refusal.by, refusal.status.as_u16(), sends),
            cause => Self::of_cause(cause),
        }
    }

    /// Returns what the error of a layout concerns.
    pub(crate) fn of_layout(error: &LayoutError) -> Self {
        use LayoutErrorKind::{
            Content, Document, Missing, NotAFile, Root, Size, TooLarge, Unverifiable, Walk,
        };
        match error.kind() {
            Missing
            | NotAFile(_)
            | Size { .. }
            | Content(_)
            | TooLarge(_)
            | Unverifiable
            | Document(_)
            | Root(_)
            | Walk(_) => Self::Content,
            _ => Self::Everything,
        }
    }

    /// Returns what an error of writing a layout concerns: everything, unless it is of a blob, or of the source.
    pub(crate) fn of_writing(error: &LayoutError) -> Self {
        match error.kind() {
            LayoutErrorKind::Root(_) | LayoutErrorKind::Walk(_) => Self::of_layout(error),
            _ if is_of_blob(error) => Self::of_layout(error),
            _ => Self::Everything,
        }
    }

    fn of_status(by: Responder, status: u16, sends: bool) -> Self {
        let is_of_content = match (by, status) {
            // A login that is refused, a registry that is read-only, the login of a proxy, and a rate limit.
            (Responder::TokenServer, _) | (_, 405 | 407 | 429) => false,
            // A registry that forbids everything answers as one that forbids a tag. Storage refuses the URL of a blob.
            (by, 401 | 403) => by == Responder::Elsewhere,
            // Content may be missing or damaged. If nothing can be sent, the repository may not exist, or the disk may
            // be full.
            (_, 404 | 500) => !sends,
            (_, status) => (400..500).contains(&status),
        };
        if is_of_content { Self::Content } else { Self::Everything }
    }

    fn of_cause(cause: &Cause) -> Self {
        use Misbehaviour::{
            ContentEncoding, Contradiction, Manifest, Missing, MissingReferrer, NotStored, TooLong, TooShort,
            Url, WrongDigest, WrongSize,
        };
        let is_of_content = match cause {
            Cause::Request(request) => !matches!(request, InvalidRequest::Route(_)),
            // Wrong content, rather than a registry that does not follow the protocol.
            Cause::Misbehaved(misbehaviour) => matches!(
                misbehaviour,
                WrongDigest { .. }
                    | WrongSize { .. }
                    | TooLong { .. }
                    | TooShort { .. }
                    | Manifest(_)
                    | ContentEncoding(_)
                    | Url { .. }
                    | NotStored(_)
                    | Contradiction { .. }
                    | Missing(_)
                    | MissingReferrer(_)
            ),
            // A source that is not what its descriptor says. The error of a destination on disk is that of its layout.
            Cause::Transport(fault) => fault.kind() == FaultKind::Storage,
            // A deadline is that of one copy.
            Cause::Limit(limit) => !matches!(limit, LimitExceeded::TokenBytes(_)),
            _ => false,
        };
        if is_of_content { Self::Content } else { Self::Everything }
    }
}

/// Whether the error is of a blob, `blobs/ALGORITHM/ENCODED`, or of a directory of blobs.
fn is_of_blob(error: &LayoutError) -> bool {
    error.path().ancestors().take(3).any(|path| path.ends_with(BLOBS))
}

#[cfg(test)]
mod tests {
    use oci_proto::Fault;

    use super::*;

    #[test]
    fn a_status_concerns_content_if_it_may_differ_for_other_content() {
        use Responder::{Elsewhere, Registry, TokenServer};
        let (reads, sends) = (false, true);
        for (by, status, sends, expected) in [
            // Missing, and damaged.
            (Registry, 404, reads, Concern::Content),
            (Registry, 410, reads, Concern::Content),
            (Registry, 500, reads, Concern::Content),
            (Elsewhere, 403, reads, Concern::Content),
            (Elsewhere, 404, reads, Concern::Content),
            // Invalid, immutable, prevented by a policy, too large.
            (Registry, 400, sends, Concern::Content),
            (Registry, 409, sends, Concern::Content),
            (Registry, 412, reads, Concern::Content),
            (Registry, 413, sends, Concern::Content),
            (Registry, 422, sends, Concern::Content),
            // No permission, or a login that is refused.
            (Registry, 401, reads, Concern::Everything),
            (Registry, 403, sends, Concern::Everything),
            (TokenServer, 400, reads, Concern::Everything),
            (TokenServer, 404, reads, Concern::Everything),
            // No repository, read-only, a proxy, a rate limit, out of service, a full disk.
            (Registry, 404, sends, Concern::Everything),
            (Registry, 405, sends, Concern::Everything),
            (Registry, 407, reads, Concern::Everything),
            (Registry, 429, reads, Concern::Everything),
            (Registry, 500, sends, Concern::Everything),
            (Registry, 503, reads, Concern::Everything),
            (Registry, 507, sends, Concern::Everything),
        ] {
            assert_eq!(Concern::of_status(by, status, sends), expected, "{by:?} {status} {sends}");
        }
    }

    #[test]
    fn a_fault_concerns_everything_unless_a_source_is_wrong() {
        for kind in FaultKind::ALL {
            let expected = if kind == FaultKind::Storage { Concern::Content } else { Concern::Everything };
            assert_eq!(Concern::of_cause(&Fault::new(kind, "").into()), expected, "{kind:?}");
        }
    }

    #[test]
    fn wrong_content_and_limits_concern_content() {
        let short = Misbehaviour::TooShort { expected: 2, received: 1 };
        let platform = "linux/arm64".parse().unwrap();
        for (cause, expected) in [
            (Cause::from(short), Concern::Content),
            (
                Cause::from(InvalidRequest::NoPlatform { asked: platform, offered: Vec::new() }),
                Concern::Content,
            ),
            (Cause::from(LimitExceeded::ManifestBytes(1)), Concern::Content),
            (Cause::from(LimitExceeded::Deadline), Concern::Content),
            (Cause::from(LimitExceeded::TokenBytes(1)), Concern::Everything),
            (Cause::from(Misbehaviour::Unexpected), Concern::Everything),
        ] {
            assert_eq!(Concern::of_cause(&cause), expected, "{cause:?}");
        }
    }
}

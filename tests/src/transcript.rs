//! Transcripts: conversations as readable text, replayed against a session.
//!
//! A transcript is a file in `tests/transcripts/`. Its lines are read in order:
//!
//! ```text
//! # A sentence about the behaviour that the transcript shows.
//! document NAME MEDIA/TYPE            a document; its text follows, indented by two spaces
//! blob NAME COUNT x TEXT              bytes: TEXT repeated COUNT times
//! config KEY VALUE                    a setting of the session; before the first start
//! config registry PREFIX ...          an entry for registries: location=NAMESPACE, insecure, blocked, and for each mirror
//!                                     mirror=NAMESPACE,PULLS[,insecure], where PULLS is all, digest-only or tag-only
//! start [LABEL] OPERATION REFERENCE   resolve, manifest, walk, pull, check, blob, upload, upload_stream, push,
//!                                     copy, tag, tags, repositories and check_access (of the reference's registry),
//!                                     referrers, delete, delete-blob, exists or blob-exists; then options: blobs, strict,
//!                                     nondistributable, platform=P, size=N, data=TEXT (the data embedded in the
//!                                     blob's descriptor), mount=REPOSITORY, sha512 (the algorithm of a stream's
//!                                     digest), n=N (the size of a list's pages), artifact-type=TYPE. An upload
//!                                     requires a digest and size=N. A push requires root=DIGEST and size=N, and has
//!                                     type=TYPE; a copy requires to=REFERENCE. Each has verify, referrers (so has a
//!                                     pull) and tag=TAG for further tags, and so has tag, for those to set
//! source [LABEL] NAME                 the upload's source has this content, instead of that of its digest
//! > [LABEL] METHOD URL                expects a request; indented: headers that it must have,
//!                                     or must not have (`Name: (none)`), and `payload TEXT` for its body, or
//!                                     `content NAME`, `content NAME A-B` or `content none` for what it uploads, or
//!                                     `reach anywhere|public|this machine`
//! < [LABEL] STATUS                    its response; indented: headers, then `body NAME` or `text TEXT`;
//!                                     `cut N KIND MESSAGE` breaks the body off after N bytes with a fault,
//!                                     `drop N` drops the driver after N bytes, and
//!                                     `rest wanted|drain N|close` is the expected instruction for the rest of
//!                                     the body; with `sent N`, it arrives when only the first N bytes of the
//!                                     request's payload are sent, and with `from ADDRESS` from that address
//! fault [LABEL] KIND MESSAGE          the request fails; indented: `sent N` or `sent all`, by default `sent 0`
//! refused [LABEL]                     the session must refuse to send the payload, since its source is wrong
//! lost [LABEL] KIND MESSAGE           the driver loses the request; it may still be completed later
//! ? REGISTRY [REPOSITORY]             expects a question for credentials
//! login none                          its answer: none, `as USER PASSWORD`, `identity TOKEN`,
//!                                     `bearer TOKEN` or `fail MESSAGE`
//! ? [LABEL] wanted DIGEST             expects a question for held content
//! held [LABEL] NAME HELD              its answer: nothing, whole, document, `part N`, `part N of NAME` for
//!                                     a part of other content, or `fail KIND MESSAGE`
//! ? [LABEL] store MEDIA/TYPE DIGEST SIZE as CONTENT
//!                                     expects a question to store content: a document (`image` or `index`),
//!                                     `data TEXT`, or the bytes in the `sink`
//! stored [LABEL] [NAME]               its answer, by default to the first one; `fail KIND MESSAGE` after the
//!                                     NAME makes it a failure
//! ? [LABEL] read MAX                  expects a question for the next bytes of a stream
//! read [LABEL] NAME [A-B] [last]      its answer; `nothing` instead of a name and a range
//! ? [LABEL] document DIGEST           expects a question for a document to push
//! supply [LABEL] NAME                 its answer; `fail KIND MESSAGE` after the NAME makes it a failure
//! ? [LABEL] referrers DIGEST          expects a question for the referrers of a document to push
//! list [LABEL] NAME [REFERRER...]     its answer: the names of documents; `fail KIND MESSAGE` instead of them makes it a
//!                                     failure
//! = [LABEL] EVENT                     expects an event
//! wait never|DURATION|FROM..TO        expects the session to wait for a completion or an answer, and for this
//!                                     long at most
//! time DURATION                       time passes
//! cancel|pause|resume [LABEL]         controls an operation
//! abandon                             the driver is dropped
//! fail [LABEL] KIND MESSAGE           the driver fails the operation
//! deadline [LABEL] DURATION           sets the operation's deadline, measured from the start of the session
//! abort [LABEL]                       expects the session to abort the request
//! sink [LABEL] NAME                   the operation's sink must have received exactly these bytes; for operations
//!                                     other than a pull this includes content to store
//! ```
//!
//! `{NAME}` stands for a document's digest, `{NAME.size}` and `{NAME.sha512}` for its size and its sha512 digest, and
//! `{NAME.fallback}` for the tag of the index of its referrers.
//! The label may be omitted if there is one operation, or if responses arrive in the order of requests. An
//! aborted, abandoned or lost request may still be completed or lost later, and a question may be answered twice.
//! Before each line that gives the session input, except those that start or control operations, its output must
//! be `Wait`.

pub(crate) mod describe;
pub(crate) mod parse;
#[cfg(feature = "network")]
pub(crate) mod play;
pub(crate) mod replay;
pub(crate) mod start;

pub use describe::{describe, describe_node, describe_question, describe_store};
pub use parse::{Answer, Step, Transcript, parse_duration};
pub use replay::drive;
pub use start::{Operation, Start};

//! Transcripts: conversations as readable text, replayed against a session.
//!
//! A transcript is a file of `tests/transcripts/`. Its lines are read in order:
//!
//! ```text
//! # What the transcript shows.
//! document NAME MEDIA/TYPE            a document; its text follows, indented by two spaces
//! blob NAME COUNT x TEXT              bytes: TEXT, COUNT times
//! config KEY VALUE                    a setting of the session, before the first start
//! start [LABEL] OPERATION REFERENCE   resolve, manifest, walk, pull, check, blob; then words: blobs, strict, foreign,
//!                                     platform=P, size=N, data=TEXT (the blob's descriptor carries it)
//! > [LABEL] METHOD URL                a request that must come next; indented: headers that it must have,
//!                                     or must not (`Name: (none)`), `payload TEXT` for its body
//! < [LABEL] STATUS                    its answer; indented: headers, then `body NAME` or `text TEXT`,
//!                                     `cut N KIND MESSAGE` where the body breaks off after N bytes,
//!                                     `drop N` where its driver is dropped then
//! fault [LABEL] KIND MESSAGE          the request cannot be carried out
//! ? REGISTRY REPOSITORY               a question for a login that must come next
//! login none                          its answer: none, `as USER PASSWORD`, `identity TOKEN`,
//!                                     `bearer TOKEN`, or `fail MESSAGE`
//! = [LABEL] EVENT                     an event that must come next
//! wait never|DURATION|FROM..TO        the session must wait, for a completion or until then
//! time DURATION                       time passes
//! cancel|pause|resume [LABEL]         steers an operation;  abandon: a driver was dropped
//! deadline [LABEL] DURATION           the operation's deadline, from the beginning
//! abort [LABEL]                       the session must say that nobody waits for that request any more
//! held [LABEL] NAME HELD              says what there is of content that a pull wants: nothing, whole,
//!                                     document, `part N`, or `part N of NAME` where it is another's
//! sink [LABEL] NAME                   the operation's sink has had exactly these bytes; those of the
//!                                     event `manifest` count
//! ```
//!
//! `{NAME}` stands for a document's digest, `{NAME.size}`, `{NAME.sha512}` for more of it. A label may
//! be left out where there is one operation, or where answers come in the order of requests. A request
//! that was aborted or abandoned may still be answered, late. Before each line that gives the session
//! something, except those that start and steer operations, it must have nothing to say but `Wait`.

mod describe;
mod parse;
#[cfg(feature = "network")]
mod play;
mod replay;
mod start;

pub use describe::{describe, describe_node};
pub use parse::{Answer, Step, Transcript, parse_duration};
pub use replay::drive;
pub use start::{Operation, Start};

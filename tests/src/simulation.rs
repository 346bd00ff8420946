//! A simulated world: a session and its driver, registries, token servers, storage servers and mirrors, and a
//! network with its own clock. Everything that happens is decided by the input's bytes.
//!
//! [`run`] simulates operations of every kind on several registries, with transient failures and, in every
//! other run, with wrong responses. In about half of the runs, some operations write: uploads, pushes, copies and
//! documents with subjects, beside lists. It asserts that
//!
//! - an operation ends once, and is silent while it is paused and after its end;
//! - the requests in flight stay within the limits, no request is sent before a server's Retry-After has
//!   passed, and none is repeated more often than the limits on attempts, redirects and challenges allow;
//! - `Wait` waits for something, and no longer than until the next retry;
//! - each byte of a blob is delivered once and in order, and completed, verified and stored content is
//!   correct; a document is stored after everything that it refers to;
//! - the events of a walk agree with a recursion over the same content, as far as the walk goes;
//! - a document is sent after everything that it refers to, and the tag of a root last, also after its referrers, unless
//!   they refer to the root;
//! - a pull, a push and a copy with referrers store those of the whole tree and of the referrers, before the root unless
//!   they refer to it; the destination of a push or a copy lists them;
//! - the bytes of a payload are those that its headers declare; uploaded content is correct;
//! - a list reports each entry once, and all of them;
//! - the number of requests of an operation that writes, and of the bytes that it sends, is bounded by its content and
//!   the failures;
//! - after all faults have stopped, each operation that writes succeeds, in another session, and sends nothing that is
//!   there;
//! - a public registry leads no request to an address that is not public;
//! - a secret is sent only to servers that may see it, and never shown;
//! - an operation that met correct responses and transient failures only delivers all available content, or sends it;
//! - equal inputs give equal runs.

pub(crate) mod actions;
pub(crate) mod addresses;
pub(crate) mod again;
pub(crate) mod answers;
pub(crate) mod behaviour;
pub(crate) mod choices;
pub(crate) mod content;
pub(crate) mod counts;
pub(crate) mod driver;
pub(crate) mod expected;
pub(crate) mod fault_record;
pub(crate) mod ledger;
pub(crate) mod mirrors;
pub mod model;
pub(crate) mod outgoing;
pub(crate) mod pipes;
pub(crate) mod registry;
pub(crate) mod responses;
pub(crate) mod run;
pub(crate) mod secrets;
pub(crate) mod setup;
pub(crate) mod state;
pub(crate) mod store;
pub(crate) mod trace;
pub(crate) mod transfer;
pub(crate) mod transient;
pub(crate) mod watched;
pub(crate) mod world;
pub(crate) mod writing;
pub(crate) mod written;
pub(crate) mod wrong;
pub(crate) mod wrong_writes;

pub use answers::{Answers, Asked};
pub use behaviour::Behaviour;
pub use choices::Choices;
pub use content::{Content, PLATFORMS};
pub use counts::Counts;
pub use registry::Registry;
pub use run::{Dropped, Run, drop_after, run, traced};
pub use state::Simulation;
pub use watched::Watched;

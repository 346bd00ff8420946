//! The outputs of a session, and the answers to its questions.

use bytes::Bytes;

use crate::auth::credentials::{Credentials, CredentialsQuery};
use crate::error::fault::Fault;
use crate::op::ask::{Held, StoreContent};
use crate::op::event::Event;
use crate::types::descriptor::Descriptor;
use crate::types::id::{ExchangeId, OpId, QueryId};
use crate::types::time::Time;
use crate::wire::exchange::Exchange;

/// An instruction to the driver, from [`Session::poll_output`](crate::Session::poll_output).
#[derive(Debug)]
#[must_use = "the session waits for its outputs to be handled"]
#[expect(clippy::large_enum_variant, reason = "an output is taken apart at once")]
#[expect(clippy::exhaustive_enums, reason = "these five are the contract: each is a duty of every driver")]
pub enum Output {
    /// Carry out this exchange, and hand its completion to
    /// [`Session::complete`](crate::Session::complete).
    Send(Exchange),
    /// Answer this question with [`Session::answer`](crate::Session::answer).
    Ask(QueryId, Question),
    /// Abort this exchange, which is no longer needed. Its completion is ignored, so a driver may let it
    /// finish, but its bytes must not reach a sink; see [`driver`](crate::driver).
    Abort(ExchangeId),
    /// Report this event to the caller. It needs no answer.
    Event(OpId, Event),
    /// Wait for a completion, an answer or, if given, this time.
    Wait(Option<Time>),
}

/// A question to the driver. It is answered once, by [`Session::answer`](crate::Session::answer) with the
/// [`Answer`] given at each variant.
#[derive(Clone, Debug)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a question that a driver does not know would hang its operation"
)]
pub enum Question {
    /// Look up the credentials for a registry and repository. The answer is [`Answer::Credentials`].
    ///
    /// A session asks after the registry has demanded credentials, and keeps the answer. It asks again if
    /// the registry rejects the credentials, if the lookup failed, or if it had to discard the answer
    /// ([`Limits::tokens`](crate::Limits::tokens)).
    Credentials(CredentialsQuery),
    /// Find out how much of this content the operation's destination already holds. The answer is
    /// [`Answer::Held`].
    Held {
        /// The operation that wants the content.
        op: OpId,
        /// The content.
        descriptor: Descriptor,
    },
    /// Store this content. The answer is [`Answer::Stored`].
    ///
    /// In a pull, all content that it refers to is already stored or skipped. The operation is done only
    /// after the answer for its root.
    Store {
        /// The operation that delivers the content.
        op: OpId,
        /// The content. Its media type is generic if only its digest is known.
        descriptor: Descriptor,
        /// The source of its bytes.
        content: StoreContent,
    },
    /// Hand over the bytes of this document, which the operation's source holds. The answer is
    /// [`Answer::Document`]. The core verifies them.
    Document {
        /// The operation that sends the content.
        op: OpId,
        /// The document.
        descriptor: Descriptor,
    },
    /// List the documents whose subject is this one, among those that the operation's source holds. The answer is
    /// [`Answer::Referrers`].
    ///
    /// A push with [`PushOptions::referrers`](crate::PushOptions::referrers) asks once for each document of its tree,
    /// and for each referrer that is an answer.
    Referrers {
        /// The operation that sends the content.
        op: OpId,
        /// The subject: an image or an index that the source holds too.
        subject: Descriptor,
    },
    /// Read the next bytes of the operation's stream. The answer is [`Answer::Read`].
    ///
    /// The core holds the bytes until the registry has acknowledged them, so a stream is read once.
    Read {
        /// The operation that sends the stream.
        op: OpId,
        /// The maximum number of bytes. Fewer are sent in a request of their own, so a driver reads as many as
        /// the stream has.
        max: usize,
    },
}

impl Question {
    /// Returns the operation that asks, or `None` for credentials, which may serve several.
    pub fn op(&self) -> Option<OpId> {
        match self {
            Self::Credentials(_) => None,
            Self::Held { op, .. }
            | Self::Store { op, .. }
            | Self::Document { op, .. }
            | Self::Referrers { op, .. }
            | Self::Read { op, .. } => Some(*op),
        }
    }
}

/// The answer to a [`Question`].
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "drivers construct it")]
pub enum Answer {
    /// The credentials, or `None` if there are none.
    Credentials(Option<Credentials>),
    /// The part of the content that the destination holds.
    Held(Held),
    /// The content is stored.
    Stored,
    /// The bytes of the document.
    Document(Bytes),
    /// The descriptors of the referrers, or none. The operation asks for those of the types of images and indexes, with
    /// [`Question::Document`], and takes each one once.
    Referrers(Vec<Descriptor>),
    /// The next bytes of the stream.
    Read {
        /// The bytes: at most as many as asked for, and none only at the end.
        bytes: Bytes,
        /// Whether the stream ends with them.
        is_last: bool,
    },
    /// The question could not be answered, or the content could not be stored. Every operation that waits
    /// for the answer fails.
    Failed(Fault),
}

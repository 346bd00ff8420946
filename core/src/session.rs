//! The session: operations in, exchanges and events out.
use crate::{
    Completion, Config, Descriptor, Error, Exchange, ExchangeId, Manifest, Node, Platform, Reference, Time,
    WalkOptions,
};

/// Names an operation within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub(crate) u64);

/// Everything that several operations share.
#[derive(Debug)]
pub struct Session {}

impl Session {
    /// A session with nothing to do. The seed feeds jitter and nothing else.
    pub fn new(config: Config, seed: u64) -> Self {
        let _ = (config, seed);
        todo!()
    }

    /// What `reference` names: its descriptor, by HEAD where that tells. With a platform, the manifest
    /// that fits it best in the index that `reference` names. Ends with `Resolved` and `Done`.
    pub fn resolve(&mut self, reference: &Reference, platform: Option<&Platform>) -> OpId {
        let _ = (reference, platform);
        todo!()
    }
    /// The manifest that `reference` names, verified. Ends with `Manifest` and `Done`.
    pub fn manifest(&mut self, reference: &Reference, platform: Option<&Platform>) -> OpId {
        let _ = (reference, platform);
        todo!()
    }
    /// Everything under `reference`, in depth-first pre-order: `Node` events, then `Done`.
    pub fn walk(&mut self, reference: &Reference, options: WalkOptions) -> OpId {
        let _ = (reference, options);
        todo!()
    }
    /// A blob, into the operation's sink. `reference` has a digest. `size`, where known, bounds it.
    pub fn blob(&mut self, reference: &Reference, size: Option<u64>) -> OpId {
        let _ = (reference, size);
        todo!()
    }

    /// Fails the operation with a deadline error unless it ends before `at`.
    pub fn set_deadline(&mut self, op: OpId, at: Time) {
        let _ = (op, at);
        todo!()
    }
    /// Ends the operation without an event. Idempotent.
    pub fn cancel(&mut self, op: OpId) {
        let _ = op;
        todo!()
    }
    /// The driver takes no more events of this operation for now.
    pub fn pause(&mut self, op: OpId) {
        let _ = op;
        todo!()
    }
    /// Undoes `pause`.
    pub fn resume(&mut self, op: OpId) {
        let _ = op;
        todo!()
    }

    /// What to do next. Poll until `Wait`.
    pub fn poll_output(&mut self, now: Time) -> Output {
        let _ = now;
        todo!()
    }
    /// Takes the end of an exchange.
    pub fn complete(&mut self, now: Time, completion: Completion) {
        let _ = (now, completion);
        todo!()
    }
    /// Forgets all exchanges in flight, and asks for them anew.
    pub fn abandon_in_flight(&mut self, now: Time) {
        let _ = now;
        todo!()
    }
}

/// What a session asks of its driver.
#[derive(Debug)]
#[must_use]
#[non_exhaustive]
pub enum Output {
    /// Carry this out, and hand its completion back.
    Send(Exchange),
    /// Nobody waits for this exchange any more. Ignoring it is harmless.
    Abort(ExchangeId),
    /// Something happened in an operation.
    Event(OpId, Event),
    /// Nothing to do until a completion, or until then.
    Wait(Option<Time>),
}

/// What happens in an operation.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The reference names this.
    Resolved(Descriptor),
    /// The manifest that was asked for, and its descriptor.
    Manifest(Descriptor, Manifest),
    /// The next node of a walk.
    Node(Node),
    /// The operation ended well. Its last event.
    Done,
    /// The operation failed. Its last event.
    Failed(Error),
}

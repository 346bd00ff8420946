//! The session: operations in, exchanges and events out.

pub(crate) mod lanes;
pub(crate) mod output;
pub(crate) mod retry;
pub(crate) mod running;
pub(crate) mod settle;
pub(crate) mod task;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use crate::auth::Auth;
use crate::auth::credentials::Credentials;
use crate::config::Config;
use crate::error::fault::Fault;
use crate::op::Op;
use crate::op::blob::Blob;
use crate::op::check::Check;
use crate::op::event::Held;
use crate::op::pull::{Pull, PullOptions};
use crate::op::resolve::Resolve;
use crate::op::walk::Walk;
use crate::session::lanes::Lanes;
use crate::session::output::Output;
use crate::session::retry::Jitter;
use crate::session::running::Running;
use crate::session::task::{Task, TaskState};
use crate::types::descriptor::Descriptor;
use crate::types::digest::Digest;
use crate::types::id::{ExchangeId, Ids, OpId, QueryId, TaskId};
use crate::types::platform::Platform;
use crate::types::reference::Reference;
use crate::types::time::Time;
use crate::walker::node::WalkOptions;
use crate::wire::exchange::Completion;
use crate::wire::origin::Origin;

/// Everything that several operations share, for any number of registries.
///
/// Operations are started with [`resolve`](Self::resolve), [`manifest`](Self::manifest),
/// [`walk`](Self::walk) and [`blob`](Self::blob), and steered by their id. The driver's part is:
///
/// 1. call [`poll_output`](Self::poll_output) until it says [`Output::Wait`];
/// 2. carry out every [`Output::Send`], and answer every [`Output::Credentials`];
/// 3. hand every [`Completion`] to [`complete`](Self::complete), and begin again.
///
/// No other order is wrong. A call that comes late, or twice, or with an id that names nothing any
/// more, does nothing. [`Event::Done`](crate::Event::Done) or [`Event::Failed`](crate::Event::Failed) comes exactly once for each operation that
/// is not cancelled, and is its last event. [`Output::Wait`] says when to poll again if nothing
/// completes before; a driver that sleeps exactly as told neither hangs nor spins.
pub struct Session {
    config: Config,
    jitter: Jitter,
    now: Time,
    next_op: u64,
    next_exchange: u64,
    ids: Ids,
    ops: BTreeMap<OpId, Running>,
    tasks: BTreeMap<TaskId, Task>,
    /// What is out, and for which task.
    out: BTreeMap<ExchangeId, TaskId>,
    lanes: Lanes,
    auth: Auth,
    /// Tasks that are asleep.
    timers: BTreeSet<(Time, TaskId)>,
    /// Operations that may have an event.
    ready: VecDeque<OpId>,
    aborts: VecDeque<ExchangeId>,
    deadlines: BTreeSet<(Time, OpId)>,
}

impl Session {
    /// A session with nothing to do.
    ///
    /// `seed` feeds the jitter of waits and nothing else: the same seed and the same inputs give the
    /// same outputs.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            auth: Auth::new(&config.limits, config.plain_http),
            config,
            jitter: Jitter::new(seed),
            now: Time::ZERO,
            next_op: 0,
            next_exchange: 0,
            ids: Ids::default(),
            ops: BTreeMap::new(),
            tasks: BTreeMap::new(),
            out: BTreeMap::new(),
            lanes: Lanes::default(),
            timers: BTreeSet::new(),
            ready: VecDeque::new(),
            aborts: VecDeque::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// Starts to find out what `reference` names: its descriptor, by HEAD where that tells.
    ///
    /// With a platform, what fits it best in the index that `reference` names, nested ones included; an
    /// image is taken as it is. Ends with [`Event::Resolved`](crate::Event::Resolved) and [`Event::Done`](crate::Event::Done).
    ///
    /// Source: distribution-spec, end-3.
    pub fn resolve(&mut self, reference: &Reference, platform: Option<&Platform>) -> OpId {
        let op = Resolve::new(reference, platform, false, &self.config.limits, self.window());
        self.start(reference, Op::Resolve(Box::new(op)))
    }

    /// Starts to fetch the manifest that `reference` names, verified.
    ///
    /// With a platform, the one that fits it best, as for [`resolve`](Self::resolve). Ends with
    /// [`Event::Resolved`](crate::Event::Resolved), [`Event::Manifest`](crate::Event::Manifest) and [`Event::Done`](crate::Event::Done).
    ///
    /// Source: distribution-spec, end-3.
    pub fn manifest(&mut self, reference: &Reference, platform: Option<&Platform>) -> OpId {
        let op = Resolve::new(reference, platform, true, &self.config.limits, self.window());
        self.start(reference, Op::Resolve(Box::new(op)))
    }

    /// Starts to walk everything under `reference`.
    ///
    /// Yields [`Event::Resolved`](crate::Event::Resolved) for the root, an [`Event::Node`](crate::Event::Node) for each place in the depth-first
    /// pre-order of the documents, whatever the order of responses, and [`Event::Done`](crate::Event::Done).
    pub fn walk(&mut self, reference: &Reference, options: WalkOptions) -> OpId {
        let op = Walk::new(reference, options, &self.config.limits, self.window());
        self.start(reference, Op::Walk(Box::new(op)))
    }

    /// Starts to take everything under `reference`, blobs included, each content once.
    ///
    /// Yields [`Event::Resolved`](crate::Event::Resolved) for the root. For everything else [`Event::Wanted`](crate::Event::Wanted) asks what the driver has of
    /// it already, to be answered by [`held`](Self::held). Blobs come as exchanges, each with a sink of its own,
    /// and are right at [`Event::Verified`](crate::Event::Verified); documents come as [`Event::Store`](crate::Event::Store), each after all that it names, and
    /// the root last, before [`Event::Done`](crate::Event::Done).
    ///
    /// Source: distribution-spec, end-2 and end-3; image-spec, image-layout.md.
    pub fn pull(&mut self, reference: &Reference, options: PullOptions) -> OpId {
        let op = Pull::new(reference, options, &self.config.limits, self.window());
        self.start(reference, Op::Pull(Box::new(op)))
    }

    /// Starts to fetch and verify everything under `reference`, blobs included, whatever is wrong with the rest.
    ///
    /// With a platform, only what fits it best. Yields [`Event::Resolved`](crate::Event::Resolved) for the root, an [`Event::Finding`](crate::Event::Finding) for
    /// each thing that is missing or wrong, and [`Event::Done`](crate::Event::Done). It fails where the root cannot be had, or the
    /// registry cannot be reached.
    ///
    /// Source: distribution-spec, end-2 and end-3.
    pub fn check(&mut self, reference: &Reference, platform: Option<&Platform>) -> OpId {
        let op = Check::new(reference, platform, &self.config.limits, self.window());
        self.start(reference, Op::Check(Box::new(op)))
    }

    /// Answers [`Event::Wanted`](crate::Event::Wanted). An answer that the operation does not wait for is ignored.
    pub fn held(&mut self, op: OpId, digest: &Digest, held: Held) {
        if let Some(Running { op: Op::Pull(pull), .. }) = self.ops.get_mut(&op) {
            pull.held(digest, held);
            self.wake(op);
        }
    }

    /// Starts to fetch the blob that `reference` names by its digest, into the operation's sink.
    ///
    /// `size`, in bytes, is checked where it is given, before and while the body is read. Ends with
    /// [`Event::Done`](crate::Event::Done) when the sink has had all of the blob, verified.
    ///
    /// Source: distribution-spec, end-2.
    pub fn blob(&mut self, reference: &Reference, size: Option<u64>) -> OpId {
        self.start(reference, Op::Blob(Box::new(Blob::new(reference, size))))
    }

    /// Starts to fetch the blob that `descriptor` names from the repository of `reference`.
    ///
    /// As [`blob`](Self::blob); where the descriptor carries the content itself, it comes as
    /// [`Event::Data`](crate::Event::Data) and no request is made.
    pub fn described_blob(&mut self, reference: &Reference, descriptor: &Descriptor) -> OpId {
        self.start(reference, Op::Blob(Box::new(Blob::described(descriptor))))
    }

    /// Fails the operation unless it ends before `at`. The last deadline that is set counts.
    pub fn set_deadline(&mut self, op: OpId, at: Time) {
        let Some(running) = self.ops.get_mut(&op) else { return };
        if let Some(earlier) = running.deadline.replace(at) {
            self.deadlines.remove(&(earlier, op));
        }
        self.deadlines.insert((at, op));
    }

    /// Ends the operation without an event.
    pub fn cancel(&mut self, op: OpId) {
        self.remove(op);
    }

    /// Stops the operation's events and new requests, until [`resume`](Self::resume): its driver cannot
    /// take more. Its exchanges in flight go on, and so does its deadline.
    pub fn pause(&mut self, op: OpId) {
        if let Some(running) = self.ops.get_mut(&op) {
            running.paused = true;
        }
    }

    /// Undoes [`pause`](Self::pause).
    pub fn resume(&mut self, op: OpId) {
        let Some(running) = self.ops.get_mut(&op) else { return };
        running.paused = false;
        for id in running.tasks.clone() {
            if self.tasks.get(&id).is_some_and(|task| matches!(task.place, TaskState::Parked)) {
                self.queue(id);
            }
        }
        self.wake(op);
    }

    /// What to do next. To be called until it says [`Output::Wait`].
    ///
    /// A `now` earlier than one given before counts as that one.
    pub fn poll_output(&mut self, now: Time) -> Output {
        self.advance(now);
        loop {
            if let Some(exchange) = self.aborts.pop_front() {
                return Output::Abort(exchange);
            }
            if let Some((op, event)) = self.next_event() {
                return Output::Event(op, event);
            }
            if !self.auth.has_question()
                && let Some(exchange) = self.next_exchange()
            {
                return Output::Send(exchange);
            }
            // What was to be sent may have led to a question, or to an end.
            if let Some((query, asked)) = self.auth.next_question() {
                return Output::Credentials(query, asked);
            }
            if self.ready.is_empty() {
                break;
            }
        }
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let timer = self.timers.first().map(|(at, _)| *at);
        Output::Wait([deadline, timer, self.lanes.opens_at(self.now)].into_iter().flatten().min())
    }

    /// Takes the end of an exchange. One that the session does not wait for is ignored.
    pub fn complete(&mut self, now: Time, completion: Completion) {
        self.advance(now);
        let Some(id) = self.out.remove(&completion.id) else { return };
        if let Some(task) = self.tasks.get(&id) {
            self.lanes.ended(&task.origin, self.now);
            self.settle(id, completion);
        }
    }

    /// Takes the answer to [`Output::Credentials`]: the login, if there is one, or why it could not be
    /// looked up. An answer that the session does not wait for is ignored.
    pub fn credentials(&mut self, now: Time, query: QueryId, found: Result<Option<Credentials>, Fault>) {
        self.advance(now);
        for (id, outcome) in self.auth.answered(query, found) {
            match outcome {
                Ok(()) => self.queue(id),
                Err(cause) => self.fail(id, cause),
            }
        }
    }

    /// Forgets all exchanges in flight, and asks for each anew: a driver was dropped that carried them.
    /// Questions for logins that have no answer are put again.
    ///
    /// What a blob's sink has had of an abandoned exchange comes again: [`Sink::offset`](crate::Sink::offset)
    /// says from where.
    pub fn abandon_in_flight(&mut self, now: Time) {
        self.advance(now);
        for (_, id) in std::mem::take(&mut self.out) {
            if let Some(task) = self.tasks.get(&id) {
                self.lanes.ended(&task.origin, self.now);
                self.queue(id);
            }
        }
        self.auth.ask_again();
    }

    /// How far ahead of its order a walk fetches: one set of requests under way, one set that waits.
    fn window(&self) -> usize {
        self.config.limits.in_flight_per_origin.saturating_mul(2)
    }

    fn start(&mut self, reference: &Reference, op: Op) -> OpId {
        let id = OpId(self.next_op);
        self.next_op += 1;
        let (origin, base) = Origin::of_registry(reference.registry(), self.config.plain_http);
        let running = Running {
            op,
            registry: reference.registry().clone(),
            base,
            origin,
            repository: reference.repository().clone(),
            tasks: BTreeSet::new(),
            notices: VecDeque::new(),
            warned: BTreeSet::new(),
            paused: false,
            deadline: None,
            ended: None,
            is_ready: false,
            is_queued: false,
        };
        self.ops.insert(id, running);
        self.wake(id);
        id
    }
}

impl fmt::Debug for Session {
    /// Shows how much there is, not what: requests and logins hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("now", &self.now)
            .field("operations", &self.ops.len())
            .field("requests", &self.tasks.len())
            .field("in_flight", &self.out.len())
            .finish_non_exhaustive()
    }
}

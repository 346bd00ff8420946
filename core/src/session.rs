//! The session: operations in, exchanges and events out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use http::{Method, Uri};

use crate::error::Exceeded;
use crate::exchange::{Answer, BlobWant, ManifestWant, Want};
use crate::op::{Blob, Fetch, Fetched, Op, Resolve, Walk, What};
use crate::origin::{Base, Origin};
use crate::request::{self, Accepting};
use crate::{
    Algorithm, Awaiting, Completion, Config, Descriptor, Error, Exchange, ExchangeId, Hasher, Manifest, Node,
    Platform, Reference, Repository, Sink, Time, WalkOptions, reply,
};

/// Names an operation within its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub(crate) u64);

/// Everything that several operations share, for any number of registries.
///
/// Operations are started with [`resolve`](Self::resolve), [`manifest`](Self::manifest),
/// [`walk`](Self::walk) and [`blob`](Self::blob), and steered by their id. The driver's part is:
///
/// 1. call [`poll_output`](Self::poll_output) until it says [`Output::Wait`];
/// 2. carry out every [`Output::Send`];
/// 3. hand every [`Completion`] to [`complete`](Self::complete), and begin again.
///
/// No other order is wrong. A call that comes late, or twice, or with an id that names nothing any
/// more, does nothing. [`Event::Done`] or [`Event::Failed`] comes exactly once for each operation that
/// is not cancelled, and is its last event. [`Output::Wait`] says when to poll again if nothing
/// completes before; a driver that sleeps exactly as told neither hangs nor spins.
#[derive(Debug)]
pub struct Session {
    config: Config,
    /// Feeds jitter.
    _seed: u64,
    now: Time,
    next_op: u64,
    next_exchange: u64,
    ops: BTreeMap<OpId, Running>,
    in_flight: BTreeMap<ExchangeId, InFlight>,
    lanes: BTreeMap<Origin, Lane>,
    /// The origin that was served last: the next one in order comes first.
    served: Option<Origin>,
    /// Operations that may have an event.
    ready: VecDeque<OpId>,
    aborts: VecDeque<ExchangeId>,
    deadlines: BTreeSet<(Time, OpId)>,
}

/// An operation, and how the session stands to it.
#[derive(Debug)]
struct Running {
    op: Op,
    base: Base,
    origin: Origin,
    repository: Repository,
    paused: bool,
    deadline: Option<Time>,
    /// Why the session ended it.
    ended: Option<Error>,
    /// Whether it is in `ready`.
    is_ready: bool,
    /// Whether it is in its lane's queue.
    is_queued: bool,
}

/// Requests to one origin.
#[derive(Debug, Default)]
struct Lane {
    in_flight: usize,
    queue: VecDeque<Job>,
}

#[derive(Debug)]
enum Job {
    /// An operation that may have something to fetch.
    Next(OpId),
    /// A fetch whose exchange was abandoned.
    Again(OpId, Box<Fetch>),
}

#[derive(Debug)]
struct InFlight {
    op: OpId,
    origin: Origin,
    fetch: Fetch,
    method: Method,
    uri: Uri,
}

impl Session {
    /// A session with nothing to do.
    ///
    /// `seed` feeds the jitter of waits and nothing else: the same seed and the same inputs give the
    /// same outputs.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            _seed: seed,
            now: Time::ZERO,
            next_op: 0,
            next_exchange: 0,
            ops: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            lanes: BTreeMap::new(),
            served: None,
            ready: VecDeque::new(),
            aborts: VecDeque::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// Starts to find out what `reference` names: its descriptor, by HEAD where that tells.
    ///
    /// With a platform, what fits it best in the index that `reference` names, nested ones included; an
    /// image is taken as it is. Ends with [`Event::Resolved`] and [`Event::Done`].
    ///
    /// Source: distribution-spec, end-3.
    pub fn resolve(&mut self, reference: &Reference, platform: Option<&Platform>) -> OpId {
        let op = Resolve::new(reference, platform, false, &self.config.limits, self.window());
        self.start(reference, Op::Resolve(Box::new(op)))
    }

    /// Starts to fetch the manifest that `reference` names, verified.
    ///
    /// With a platform, the one that fits it best, as for [`resolve`](Self::resolve). Ends with
    /// [`Event::Resolved`], [`Event::Manifest`] and [`Event::Done`].
    ///
    /// Source: distribution-spec, end-3.
    pub fn manifest(&mut self, reference: &Reference, platform: Option<&Platform>) -> OpId {
        let op = Resolve::new(reference, platform, true, &self.config.limits, self.window());
        self.start(reference, Op::Resolve(Box::new(op)))
    }

    /// Starts to walk everything under `reference`.
    ///
    /// Yields [`Event::Resolved`] for the root, an [`Event::Node`] for each place in the depth-first
    /// pre-order of the documents, whatever the order of responses, and [`Event::Done`].
    pub fn walk(&mut self, reference: &Reference, options: WalkOptions) -> OpId {
        let op = Walk::new(reference, options, &self.config.limits, self.window());
        self.start(reference, Op::Walk(Box::new(op)))
    }

    /// Starts to fetch the blob that `reference` names by its digest, into the operation's sink.
    ///
    /// `size`, in bytes, is checked where it is given, before and while the body is read. Ends with
    /// [`Event::Done`] when the sink has had all of the blob, verified.
    ///
    /// Source: distribution-spec, end-2.
    pub fn blob(&mut self, reference: &Reference, size: Option<u64>) -> OpId {
        self.start(reference, Op::Blob(Box::new(Blob::new(reference, size))))
    }

    /// Starts to fetch the blob that `descriptor` names from the repository of `reference`.
    ///
    /// As [`blob`](Self::blob); where the descriptor carries the content itself, it comes as
    /// [`Event::Data`] and no request is made.
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
        if self.ops.contains_key(&op) {
            self.stop_exchanges(op);
            self.remove(op);
        }
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
        if let Some(running) = self.ops.get_mut(&op) {
            running.paused = false;
            self.wake(op);
        }
    }

    /// What to do next. To be called until it says [`Output::Wait`].
    ///
    /// A `now` earlier than one given before counts as that one.
    pub fn poll_output(&mut self, now: Time) -> Output {
        self.advance(now);
        if let Some(exchange) = self.aborts.pop_front() {
            return Output::Abort(exchange);
        }
        if let Some((op, event)) = self.next_event() {
            return Output::Event(op, event);
        }
        if let Some(exchange) = self.next_exchange() {
            return Output::Send(exchange);
        }
        Output::Wait(self.deadlines.first().map(|(at, _)| *at))
    }

    /// Takes the end of an exchange. One that the session does not wait for is ignored.
    pub fn complete(&mut self, now: Time, completion: Completion) {
        self.advance(now);
        let Some(in_flight) = self.take_in_flight(completion.id) else { return };
        let outcome = self.outcome(&in_flight, completion);
        if let Some(running) = self.ops.get_mut(&in_flight.op) {
            running.op.settle(in_flight.fetch.ticket, outcome);
            self.wake(in_flight.op);
        }
    }

    /// Forgets all exchanges in flight, and asks for each anew: a driver was dropped that carried them.
    ///
    /// What a blob's sink has had of an abandoned exchange comes again: [`Sink::offset`] says from where.
    pub fn abandon_in_flight(&mut self, now: Time) {
        self.advance(now);
        let ids: Vec<ExchangeId> = self.in_flight.keys().copied().collect();
        for id in ids {
            let Some(InFlight { op, origin, fetch, .. }) = self.take_in_flight(id) else { continue };
            self.lanes.entry(origin).or_default().queue.push_back(Job::Again(op, Box::new(fetch)));
        }
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
            base,
            origin,
            repository: reference.repository().clone(),
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

    /// The operation may have an event, or something to fetch.
    fn wake(&mut self, op: OpId) {
        let Some(running) = self.ops.get_mut(&op) else { return };
        if !std::mem::replace(&mut running.is_ready, true) {
            self.ready.push_back(op);
        }
        if !std::mem::replace(&mut running.is_queued, true) {
            self.lanes.entry(running.origin.clone()).or_default().queue.push_back(Job::Next(op));
        }
    }

    fn advance(&mut self, now: Time) {
        self.now = self.now.max(now);
        while let Some((at, op)) = self.deadlines.first().copied()
            && at <= self.now
        {
            self.deadlines.pop_first();
            self.stop_exchanges(op);
            if let Some(running) = self.ops.get_mut(&op) {
                running.deadline = None;
                running.ended = Some(Error::new(Exceeded::Deadline));
                self.wake(op);
            }
        }
    }

    fn next_event(&mut self) -> Option<(OpId, Event)> {
        while let Some(id) = self.ready.front().copied() {
            let event = self.ops.get_mut(&id).filter(|running| !running.paused).and_then(|running| {
                match running.ended.take() {
                    Some(error) => Some(Event::Failed(error)),
                    None => running.op.next_event(),
                }
            });
            match event {
                Some(event @ (Event::Done | Event::Failed(_))) => {
                    self.ready.pop_front();
                    self.stop_exchanges(id);
                    self.remove(id);
                    return Some((id, event));
                }
                Some(event) => {
                    // What was reported makes room for what is to be fetched.
                    self.wake(id);
                    return Some((id, event));
                }
                None => {
                    self.ready.pop_front();
                    if let Some(running) = self.ops.get_mut(&id) {
                        running.is_ready = false;
                    }
                }
            }
        }
        None
    }

    /// The next request to send, of the origins in turn, and of each origin's operations in turn.
    fn next_exchange(&mut self) -> Option<Exchange> {
        let limits = &self.config.limits;
        if self.in_flight.len() >= limits.in_flight.max(1) {
            return None;
        }
        let per_origin = limits.in_flight_per_origin.max(1);
        let open = |(origin, lane): (&Origin, &Lane)| {
            (lane.in_flight < per_origin && !lane.queue.is_empty()).then(|| origin.clone())
        };
        let after = self.served.clone();
        let mut origins: Vec<Origin> = self.lanes.iter().filter_map(open).collect();
        let first = origins.partition_point(|origin| after.as_ref().is_some_and(|after| origin <= after));
        origins.rotate_left(first);
        for origin in origins {
            if let Some(exchange) = self.next_of_lane(&origin) {
                self.served = Some(origin);
                return Some(exchange);
            }
            self.drop_idle(&origin);
        }
        None
    }

    fn next_of_lane(&mut self, origin: &Origin) -> Option<Exchange> {
        while let Some(job) = self.lanes.get_mut(origin)?.queue.pop_front() {
            let (id, again) = match job {
                Job::Next(id) => (id, None),
                Job::Again(id, fetch) => (id, Some(*fetch)),
            };
            let Some(running) = self.ops.get_mut(&id) else { continue };
            if let Some(fetch) = again {
                return self.send(id, fetch);
            }
            let idle = running.paused || running.ended.is_some();
            let Some(fetch) = (if idle { None } else { running.op.next_fetch() }) else {
                running.is_queued = false;
                continue;
            };
            self.lanes.get_mut(origin)?.queue.push_back(Job::Next(id));
            return self.send(id, fetch);
        }
        None
    }

    /// Makes the exchange of a fetch.
    fn send(&mut self, op: OpId, fetch: Fetch) -> Option<Exchange> {
        let running = self.ops.get(&op)?;
        let id = ExchangeId(self.next_exchange);
        self.next_exchange += 1;
        let limits = &self.config.limits;
        let (method, uri, accepting, want) = match &fetch.what {
            What::Manifest { method, name, expected } => {
                let want = if *method == Method::HEAD {
                    Want::Head
                } else {
                    Want::Manifest(ManifestWant {
                        digest: expected.digest.clone(),
                        size: expected.size,
                        media_type: expected.media_type.clone(),
                        limit: limits.manifest_bytes,
                    })
                };
                let uri = request::manifest_uri(&running.base, &running.repository, name);
                (method.clone(), uri, Accepting::Manifest, want)
            }
            What::Blob { digest, size } => {
                let want = Want::Blob(Box::new(BlobWant {
                    sink: Sink { op, digest: digest.clone(), size: *size, offset: 0 },
                    hasher: Hasher::new(digest.algorithm().unwrap_or(Algorithm::Sha256)),
                    limit: limits.blob_bytes,
                }));
                let uri = request::blob_uri(&running.base, &running.repository, digest);
                (Method::GET, uri, Accepting::Blob, want)
            }
        };
        let request = request::build(&self.config, method.clone(), uri.clone(), accepting);
        let awaiting =
            Awaiting { id, op: Some(op), method: method.clone(), want, error_bytes: limits.error_bytes };
        self.lanes.entry(running.origin.clone()).or_default().in_flight += 1;
        self.in_flight.insert(id, InFlight { op, origin: running.origin.clone(), fetch, method, uri });
        Some(Exchange { request, awaiting })
    }

    /// What an exchange's end means to its operation.
    fn outcome(&self, in_flight: &InFlight, completion: Completion) -> Result<Fetched, Error> {
        let fail = |cause: crate::Cause| Err(Error::of_request(&in_flight.method, &in_flight.uri, cause));
        match (completion.answer, completion.head) {
            (Answer::Described, Some((_, headers))) => Ok(Fetched::Head(headers)),
            (Answer::Manifest(digest, manifest), _) => Ok(Fetched::Manifest(digest, manifest)),
            (Answer::Blob | Answer::Described, _) => Ok(Fetched::Blob),
            (Answer::Refused(body), Some((status, headers))) => {
                fail(reply::refusal(status, &headers, &body, self.config.limits.error_entries).into())
            }
            (Answer::Refused(_), None) => fail(crate::Fault::new(crate::FaultKind::Reset, "no head").into()),
            (Answer::Broken(cause), _) => fail(cause),
        }
    }

    fn take_in_flight(&mut self, id: ExchangeId) -> Option<InFlight> {
        let in_flight = self.in_flight.remove(&id)?;
        if let Some(lane) = self.lanes.get_mut(&in_flight.origin) {
            lane.in_flight -= 1;
        }
        self.drop_idle(&in_flight.origin);
        Some(in_flight)
    }

    fn drop_idle(&mut self, origin: &Origin) {
        if self.lanes.get(origin).is_some_and(|lane| lane.in_flight == 0 && lane.queue.is_empty()) {
            self.lanes.remove(origin);
        }
    }

    /// Nobody waits for the operation's exchanges any more.
    fn stop_exchanges(&mut self, op: OpId) {
        let ids: Vec<ExchangeId> =
            self.in_flight.iter().filter(|(_, in_flight)| in_flight.op == op).map(|(id, _)| *id).collect();
        for id in ids {
            self.take_in_flight(id);
            self.aborts.push_back(id);
        }
    }

    fn remove(&mut self, op: OpId) {
        if let Some(at) = self.ops.remove(&op).and_then(|running| running.deadline) {
            self.deadlines.remove(&(at, op));
        }
    }
}

/// What a session asks of its driver.
#[derive(Debug)]
#[must_use = "the session waits for what it asks"]
#[non_exhaustive]
pub enum Output {
    /// Carry this out, and hand its completion back.
    Send(Exchange),
    /// Nobody waits for this exchange any more. Ignoring it is harmless.
    Abort(ExchangeId),
    /// Something happened in an operation.
    Event(OpId, Event),
    /// Nothing to do until a completion; or, where a time is given, until then.
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
    /// All of a blob's content, which needed no request: it belongs in the operation's sink.
    Data(bytes::Bytes),
    /// The operation ended well. Its last event.
    Done,
    /// The operation failed. Its last event.
    Failed(Error),
}

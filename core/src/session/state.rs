//! The state of a session.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use crate::auth::Auth;
use crate::config::Config;
use crate::op::habits::Habits;
use crate::session::addresses::Addresses;
use crate::session::avoided::Avoided;
use crate::session::call::{Call, Observer, Start};
use crate::session::lanes::Lanes;
use crate::session::output::Question;
use crate::session::retry::Jitter;
use crate::session::running::Running;
use crate::session::task::Task;
use crate::types::id::{ExchangeId, Ids, OpId, QueryId, TaskId};
use crate::types::time::Time;
use crate::wire::exchange::Exchange;

/// The protocol state machine. One session serves many operations on any number of registries, which share
/// its limits, logins and tokens.
///
/// It has four families of methods:
///
/// - [`resolve`](Self::resolve), [`manifest`](Self::manifest), [`walk`](Self::walk), [`pull`](Self::pull),
///   [`tags`](Self::tags), [`delete`](Self::delete) and all other methods that return an [`OpId`] start an
///   operation and return its id.
///   [`set_deadline`](Self::set_deadline), [`pause`](Self::pause), [`resume`](Self::resume),
///   [`cancel`](Self::cancel) and [`fail`](Self::fail) control it by that id.
/// - [`poll_output`](Self::poll_output) returns the next instruction to the driver.
/// - [`complete`](Self::complete), [`lost`](Self::lost) and [`abandon_in_flight`](Self::abandon_in_flight)
///   end exchanges, and [`answer`](Self::answer) answers questions.
/// - [`is_idle`](Self::is_idle), [`in_flight`](Self::in_flight) and [`unanswered`](Self::unanswered)
///   distinguish an idle session from one that waits for its driver.
///
/// A driver is one loop: poll until [`Output::Wait`](crate::Output::Wait), carry out every
/// [`Output::Send`](crate::Output::Send), answer every [`Output::Ask`](crate::Output::Ask), and hand every
/// [`Completion`](crate::Completion) back.
///
/// The methods may be called in any order. A call that is late or repeated, or whose id is no longer in use
/// or belongs to another session, does nothing. Each operation that is not cancelled reports exactly one
/// [`Event::Done`](crate::Event::Done) or [`Event::Failed`](crate::Event::Failed), as its last event. A
/// driver that sleeps exactly as long as [`Output::Wait`](crate::Output::Wait) states neither hangs nor
/// spins.
pub struct Session {
    pub(crate) config: Config,
    /// Whether it replays a recording, and accepts omitted bytes by their recorded digest.
    pub(crate) is_replay: bool,
    /// Sees all calls, for a recording.
    pub(crate) observer: Option<Box<dyn Observer>>,
    pub(crate) jitter: Jitter,
    pub(crate) now: Time,
    pub(crate) ids: Ids,
    pub(crate) ops: BTreeMap<OpId, Running>,
    /// The number of targets of all operations. Each may have a login and a token in use.
    pub(crate) targets: usize,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    /// The exchanges in flight, with their tasks.
    pub(crate) in_flight: BTreeMap<ExchangeId, TaskId>,
    pub(crate) lanes: Lanes,
    pub(crate) addresses: Addresses,
    /// The mirrors that have failed a short while ago.
    pub(crate) avoided: Avoided,
    pub(crate) habits: Habits,
    pub(crate) auth: Auth,
    /// Second halves of pairs, which were admitted with the first.
    pub(crate) outbox: VecDeque<Exchange>,
    /// The unanswered questions of operations.
    pub(crate) asked: BTreeMap<QueryId, Question>,
    /// The tasks that wait for their next attempt.
    pub(crate) timers: BTreeSet<(Time, TaskId)>,
    /// The operations that may have an event or a question.
    pub(crate) ready: VecDeque<OpId>,
    pub(crate) aborts: VecDeque<ExchangeId>,
    pub(crate) deadlines: BTreeSet<(Time, OpId)>,
}

impl Session {
    /// Creates a session without operations.
    ///
    /// `seed` determines the jitter of retry delays and nothing else. The same seed and the same inputs
    /// produce the same outputs.
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            auth: Auth::new(&config),
            config,
            is_replay: false,
            observer: None,
            jitter: Jitter::new(seed),
            now: Time::ZERO,
            ids: Ids::new(),
            ops: BTreeMap::new(),
            targets: 0,
            tasks: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            lanes: Lanes::default(),
            addresses: Addresses::default(),
            avoided: Avoided::default(),
            habits: Habits::default(),
            outbox: VecDeque::new(),
            asked: BTreeMap::new(),
            timers: BTreeSet::new(),
            ready: VecDeque::new(),
            aborts: VecDeque::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// Creates a session that replays a recorded conversation; see [`record`](crate::record).
    ///
    /// With the configuration, the seed and the inputs of the recording it produces the recorded outputs.
    /// If the recording omits the bytes of a blob, the session accepts the blob by its recorded
    /// digest. No other session does.
    pub fn for_replay(config: Config, seed: u64) -> Self {
        Self { is_replay: true, ..Self::new(config, seed) }
    }

    /// Returns whether the session has no operation and no request, including those that cancel the uploads of
    /// operations that have ended.
    pub fn is_idle(&self) -> bool {
        self.ops.is_empty() && self.tasks.is_empty()
    }

    /// Returns the number of exchanges whose completions the session waits for.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns the number of unanswered questions. A question for a login counts even before it is polled,
    /// and remains unanswered if its operations end.
    pub fn unanswered(&self) -> usize {
        self.asked.len() + self.auth.unanswered()
    }

    /// Shows a call to the observer, if there is one. Returns `false` for a call with an id of another session, which is
    /// not shown, and must do nothing.
    #[must_use]
    pub(super) fn accepts(&mut self, call: Call<'_>) -> bool {
        let is_own = call.is_of(&self.ids);
        if is_own {
            self.note(call);
        }
        is_own
    }

    /// Shows a call to the observer, if there is one.
    pub(super) fn note(&mut self, call: Call<'_>) {
        if let Some(observer) = &mut self.observer {
            observer.note(call);
        }
    }

    /// Shows the start of the next operation to the observer, if there is one.
    pub(super) fn note_start(&mut self, start: impl FnOnce() -> Start) {
        if let Some(observer) = &mut self.observer {
            observer.note(Call::Start(self.ids.next_op(), &start()));
        }
    }
}

impl fmt::Debug for Session {
    /// Shows only counts, since requests and logins hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("now", &self.now)
            .field("operations", &self.ops.len())
            .field("requests", &self.tasks.len())
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}

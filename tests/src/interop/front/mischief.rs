//! What becomes of each request: a function of the seed, and of what was asked before.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::net::SocketAddr;

use crate::interop::Asked;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a test goes through all of them")]
pub enum Trouble {
    /// The first request for each path fails, at each port: 503, or the connection ends, or it is reset.
    Fails,
    /// The registry redirects each request to the second origin, whose URLs are good for one request.
    Redirects,
    /// The registry wants a token.
    WantsToken,
    /// Each answer with a blob ends after half of what it was to bring.
    Cuts,
    /// Some requests, at each port, are answered with 429 and a Retry-After of 0 seconds, or of 1.
    Throttles,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Fails, Self::Redirects, Self::WantsToken, Self::Cuts, Self::Throttles];
}

/// Where a request comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "these are a front's ports")]
pub enum Door {
    /// Where the registry seems to be.
    Registry,
    /// Where it redirects to.
    Elsewhere,
    /// Where its token server is.
    Tokens,
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    Unavailable,
    Closed,
    Reset,
    /// For so many seconds.
    Throttled(u64),
    Challenged,
    Redirected {
        status: u16,
        location: String,
    },
    /// The URL was good once.
    Expired,
    /// All of the answer.
    Served,
    /// Half of it.
    Cut,
}

impl Fate {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Closed => "closed",
            Self::Reset => "reset",
            Self::Throttled(_) => "throttled",
            Self::Challenged => "challenged",
            Self::Redirected { .. } => "redirected",
            Self::Expired => "expired",
            Self::Served => "served",
            Self::Cut => "cut",
        }
    }
}

/// How often a path is throttled before it brings something. With a failure at each port these are four, and the
/// client gives up at the fifth.
const THROTTLED: u32 = 2;

#[derive(Debug)]
pub(super) struct Mischief {
    troubles: Vec<Trouble>,
    seed: u64,
    elsewhere: SocketAddr,
    /// How often each path was asked for.
    visits: BTreeMap<(Door, String), u64>,
    /// How often it was throttled since it brought something.
    throttled: BTreeMap<String, u32>,
    /// The second origin's URLs that nobody has asked for.
    good: BTreeSet<String>,
}

impl Mischief {
    pub(super) fn new(troubles: &[Trouble], seed: u64, elsewhere: SocketAddr) -> Self {
        let (visits, throttled, good) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { troubles: troubles.to_vec(), seed, elsewhere, visits, throttled, good }
    }

    /// Decides on a request. `allowed` says whether it has a token for what it asks.
    pub(super) fn fate(&mut self, door: Door, asked: &Asked, allowed: bool) -> Fate {
        let path = asked.path();
        let visits = self.visits.entry((door, path.to_owned())).or_default();
        *visits += 1;
        let visits = *visits;
        let die = |of: u64, for_what: &str| roll((self.seed, door, path, visits, for_what), of);
        let has = |trouble| self.troubles.contains(&trouble);
        if has(Trouble::Fails) && visits == 1 {
            return [Fate::Unavailable, Fate::Closed, Fate::Reset][die(3, "failure")].clone();
        }
        if has(Trouble::Throttles) && die(8, "throttle") == 0 {
            let throttled = self.throttled.entry(path.to_owned()).or_default();
            if *throttled < THROTTLED {
                *throttled += 1;
                return Fate::Throttled(u64::from(die(4, "seconds") == 0));
            }
        }
        match door {
            Door::Registry if has(Trouble::WantsToken) && !allowed => return Fate::Challenged,
            Door::Registry if has(Trouble::Redirects) => {
                let status = [301, 302, 303, 307, 308][die(5, "status")];
                let signed = format!("{path}?signature={:016x}", self.seed.wrapping_add(visits));
                let location = format!("http://{}{signed}", self.elsewhere);
                self.good.insert(signed);
                return Fate::Redirected { status, location };
            }
            Door::Elsewhere if !self.good.remove(&asked.target) => return Fate::Expired,
            _ => {}
        }
        self.throttled.remove(path);
        if has(Trouble::Cuts) && path.contains("/blobs/") { Fate::Cut } else { Fate::Served }
    }
}

/// A number below `of`, always the same for the same `what`.
fn roll(what: impl Hash, of: u64) -> usize {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    usize::try_from(hasher.finish() % of).expect("it is small")
}

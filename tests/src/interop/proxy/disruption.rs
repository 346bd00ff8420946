//! The outcome of each request: a function of the seed and of earlier requests.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::net::SocketAddr;

use http::Method;

use crate::interop::host::Asked;

/// A kind of disruption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "tests iterate over all of them")]
pub enum Disruption {
    /// The first request for each path fails at each port: with 503, a closed connection, or a reset.
    FailsFirst,
    /// The registry redirects each request to the second origin, whose URLs are valid once.
    Redirects,
    /// The registry requires a token.
    WantsToken,
    /// Each response with a blob ends after half of its bytes.
    CutsBlobs,
    /// The connection of a request with a large body is closed after half of that body, once for each digest.
    CutsBodies,
    /// Some requests at each port get 429 with a Retry-After of 0 or 1 seconds.
    Throttles,
}

impl Disruption {
    /// All kinds that concern reading.
    pub const ALL: [Self; 5] =
        [Self::FailsFirst, Self::Redirects, Self::WantsToken, Self::CutsBlobs, Self::Throttles];
}

/// The port at which a request arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a proxy has these ports")]
pub enum Port {
    /// The registry's.
    Registry,
    /// That of the target of redirects.
    Elsewhere,
    /// The token server's.
    Tokens,
}

/// The outcome of a request.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Unavailable,
    Closed,
    Reset,
    /// Throttled for this number of seconds.
    Throttled(u64),
    Challenged,
    Redirected {
        status: u16,
        location: String,
    },
    /// The URL has been used already.
    Expired,
    /// The complete response.
    Served,
    /// Half of the response.
    Cut,
    /// The registry got a part of the request, and the connection closes.
    CutBody,
}

impl Outcome {
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
            Self::CutBody => "cut body",
        }
    }
}

/// How often a path is throttled before it delivers content. With a failure at each port these are four
/// attempts, and the client gives up at the fifth.
const THROTTLED: u32 = 2;

#[derive(Debug)]
pub(super) struct Disruptor {
    disruptions: Vec<Disruption>,
    seed: u64,
    elsewhere: SocketAddr,
    /// The number of requests for each path.
    visits: BTreeMap<(Port, String), u64>,
    /// How often each path was throttled since it last delivered content.
    throttled: BTreeMap<String, u32>,
    /// The unused URLs of the second origin.
    good: BTreeSet<String>,
    /// The digests of bodies that were cut.
    cut: BTreeSet<String>,
}

impl Disruptor {
    pub(super) fn new(disruptions: &[Disruption], seed: u64, elsewhere: SocketAddr) -> Self {
        let (visits, throttled) = (BTreeMap::new(), BTreeMap::new());
        let (good, cut) = (BTreeSet::new(), BTreeSet::new());
        Self { disruptions: disruptions.to_vec(), seed, elsewhere, visits, throttled, good, cut }
    }

    /// Decides how many bytes of a request's body are read.
    pub(super) fn length(&mut self, asked: &Asked) -> usize {
        const LARGE: usize = 256 << 10;
        let digest = asked.query().split("digest=").nth(1).unwrap_or_default();
        let cuts = self.disruptions.contains(&Disruption::CutsBodies)
            && asked.length >= LARGE
            && self.cut.insert(digest.to_owned());
        if cuts { asked.length / 2 } else { asked.length }
    }

    /// Decides on a request. `allowed` is whether it carries a sufficient token.
    pub(super) fn outcome(&mut self, port: Port, asked: &Asked, allowed: bool) -> Outcome {
        let path = asked.path();
        let visits = self.visits.entry((port, path.to_owned())).or_default();
        *visits += 1;
        let visits = *visits;
        if asked.body.len() < asked.length {
            return Outcome::CutBody;
        }
        let die = |of: u64, for_what: &str| roll((self.seed, port, path, visits, for_what), of);
        let has = |disruption| self.disruptions.contains(&disruption);
        let is_read =
            [Method::GET, Method::HEAD].contains(&asked.method) && !path.contains("/blobs/uploads/");
        if has(Disruption::FailsFirst) && visits == 1 {
            return [Outcome::Unavailable, Outcome::Closed, Outcome::Reset][die(3, "failure")].clone();
        }
        if has(Disruption::Throttles) && die(8, "throttle") == 0 {
            let throttled = self.throttled.entry(path.to_owned()).or_default();
            if *throttled < THROTTLED {
                *throttled += 1;
                return Outcome::Throttled(u64::from(die(4, "seconds") == 0));
            }
        }
        match port {
            Port::Registry if has(Disruption::WantsToken) && !allowed => return Outcome::Challenged,
            Port::Registry if has(Disruption::Redirects) => {
                // The others would turn a request that writes into a GET.
                let statuses: &[u16] = if is_read { &[301, 302, 303, 307, 308] } else { &[307, 308] };
                let status = statuses[die(statuses.len() as u64, "status")];
                let target = if is_read { path } else { &asked.target };
                let join = if target.contains('?') { '&' } else { '?' };
                let signed = format!("{target}{join}signature={:016x}", self.seed.wrapping_add(visits));
                let location = format!("http://{}{signed}", self.elsewhere);
                self.good.insert(signed);
                return Outcome::Redirected { status, location };
            }
            // The URL of an upload that began there is no target of a redirect.
            Port::Elsewhere if !self.good.remove(&asked.target) && is_read => return Outcome::Expired,
            _ => {}
        }
        self.throttled.remove(path);
        if has(Disruption::CutsBlobs) && asked.method == Method::GET && path.contains("/blobs/") {
            Outcome::Cut
        } else {
            Outcome::Served
        }
    }
}

/// A number below `of` that depends only on the seed and `what`.
fn roll(what: impl Hash, of: u64) -> usize {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    usize::try_from(hasher.finish() % of).expect("the number is small")
}

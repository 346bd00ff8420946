//! A registry as bad networks and busy registries make it: a server in front of another one, with a choice of
//! troubles.

mod mischief;

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST};
use http::{Method, Request};
use socket2::SockRef;
use ureq::Agent;

use super::host::{Asked, Host, bind};
use super::push::agent;
use super::token_server::{Desk, Rules, TokenRequest};
use crate::wire::{Reply, start, write_reply};
pub use mischief::{Door, Trouble};
use mischief::{Fate, Mischief};

/// A server in front of a registry, on three ports: the registry's, that of a second origin, where it may
/// redirect to, and that of its token server.
#[derive(Debug)]
pub struct Front {
    registry: Host,
    _elsewhere: Host,
    _tokens: Host,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    agent: Agent,
    desk: Desk,
    mischief: Mutex<Mischief>,
    seen: Mutex<Seen>,
}

/// What a front was asked, and what came of it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Seen {
    /// The requests at the registry's own port, in the order in which they came: `GET /v2/`.
    pub asked: Vec<String>,
    /// The requests at all ports, by their fate.
    pub fates: BTreeMap<&'static str, u64>,
    /// What those at the second origin had of `Authorization`, `Cookie` and `Proxy-Authorization`.
    pub shown_elsewhere: Vec<String>,
}

impl Seen {
    /// How many requests had such a fate.
    pub fn of(&self, fate: &str) -> u64 {
        self.fates.get(fate).copied().unwrap_or_default()
    }

    fn count(&mut self, fate: &Fate) {
        *self.fates.entry(fate.name()).or_default() += 1;
    }

    fn correct(&mut self, from: &Fate, to: &Fate) {
        if let Some(count) = self.fates.get_mut(from.name()) {
            *count -= 1;
            self.count(to);
        }
    }

    /// The requests at all ports.
    pub fn requests(&self) -> u64 {
        self.fates.values().sum()
    }

    /// Those that a client has to try again.
    pub fn failures(&self) -> u64 {
        ["unavailable", "closed", "reset", "throttled", "cut"].iter().map(|fate| self.of(fate)).sum()
    }
}

impl Front {
    /// Stands before `target`, and passes everything on.
    ///
    /// # Panics
    /// There is no port to be had.
    pub fn before(target: SocketAddr) -> Self {
        Self::with(target, &[], 0, Rules::default())
    }

    /// Stands before `target` with troubles that are decided by `seed`, and with the token server's rules.
    ///
    /// # Panics
    /// There is no port, or no randomness, to be had.
    pub fn with(target: SocketAddr, troubles: &[Trouble], seed: u64, rules: Rules) -> Self {
        let [registry, elsewhere, tokens] = [(); 3].map(|()| bind());
        let address = |listener: &std::net::TcpListener| listener.local_addr().expect("it has an address");
        let state = Arc::new(State {
            target,
            agent: agent(),
            desk: Desk::new(rules, address(&tokens)),
            mischief: Mutex::new(Mischief::new(troubles, seed, address(&elsewhere))),
            seen: Mutex::default(),
        });
        let host = |listener, door| {
            let state = state.clone();
            Host::on(listener, move |asked, stream| state.answer(door, asked, stream))
        };
        let (registry, elsewhere) = (host(registry, Door::Registry), host(elsewhere, Door::Elsewhere));
        Self { registry, _elsewhere: elsewhere, _tokens: host(tokens, Door::Tokens), state }
    }

    /// Where the registry seems to listen.
    pub fn address(&self) -> SocketAddr {
        self.registry.address()
    }

    /// What was asked since the last call.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.state.seen())
    }

    /// The requests for tokens since the last call that reached the token server.
    pub fn take_tokens(&self) -> Vec<TokenRequest> {
        self.state.desk.take()
    }
}

impl State {
    /// Answers a request; says whether the connection goes on.
    fn answer(&self, door: Door, asked: &Asked, stream: &mut TcpStream) -> io::Result<bool> {
        let scope = scope(asked.path());
        let allowed = self.desk.allows(asked.header("authorization"), &scope);
        let fate = self.mischief.lock().unwrap_or_else(PoisonError::into_inner).fate(door, asked, allowed);
        let mut seen = self.seen();
        seen.count(&fate);
        match door {
            Door::Registry => seen.asked.push(format!("{} {}", asked.method, asked.target)),
            Door::Elsewhere => {
                let shown = ["authorization", "cookie", "proxy-authorization"].map(|name| asked.header(name));
                seen.shown_elsewhere
                    .extend(shown.iter().filter(|value| !value.is_empty()).map(|value| (*value).to_owned()));
            }
            Door::Tokens => {}
        }
        drop(seen);
        let reply = match fate {
            Fate::Closed => return Ok(false),
            Fate::Reset => {
                SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
                return Ok(false);
            }
            Fate::Unavailable => Reply::new(503, &[], "not now"),
            Fate::Throttled(seconds) => Reply::new(429, &[("retry-after", &seconds.to_string())], "slowly"),
            Fate::Challenged => Reply::new(401, &[("www-authenticate", &self.desk.challenge(&scope))], ""),
            Fate::Redirected { status, location } => Reply::new(status, &[("location", &location)], ""),
            Fate::Expired => Reply::new(403, &[], "this was asked before"),
            Fate::Served if door == Door::Tokens => self.desk.answer(asked),
            Fate::Served => return self.pass_on(asked, false, stream),
            Fate::Cut => return self.pass_on(asked, true, stream),
        };
        write_reply(stream, &asked.method, &reply)
    }

    /// Asks the target, and passes its answer on, or half of that.
    fn pass_on(&self, asked: &Asked, half: bool, stream: &mut TcpStream) -> io::Result<bool> {
        let url = format!("http://{}{}", self.target, asked.path());
        let mut request = Request::new(());
        *request.method_mut() = asked.method.clone();
        *request.uri_mut() = url.parse().map_err(io::Error::other)?;
        *request.headers_mut() = asked.headers.clone();
        for name in [CONNECTION, HOST] {
            request.headers_mut().remove(name);
        }
        let (head, body) = self.agent.run(request).map_err(io::Error::other)?.into_parts();
        let mut message = start(head.status, &head.headers);
        message.extend_from_slice(b"\r\n");
        stream.write_all(&message)?;
        if asked.method == Method::HEAD {
            return Ok(true);
        }
        let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let length: u64 = length.ok_or_else(|| io::Error::other("an answer without a length"))?;
        let sent = if half { length.div_ceil(2) } else { length };
        if half && sent == length {
            // One byte has no half.
            self.seen().correct(&Fate::Cut, &Fate::Served);
        }
        let body = body.into_with_config().limit(u64::MAX).reader();
        Ok(io::copy(&mut body.take(sent), stream)? == length)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it takes to be served this path.
fn scope(path: &str) -> String {
    let name = path.strip_prefix("/v2/").unwrap_or_default();
    let name = ["/manifests/", "/blobs/"].iter().find_map(|part| Some(name.split_once(part)?.0));
    format!("repository:{}:pull", name.unwrap_or_default())
}

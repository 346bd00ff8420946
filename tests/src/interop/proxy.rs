//! A proxy in front of a registry that simulates unreliable networks and busy registries, with a choice of
//! disruptions.

pub(crate) mod disruption;

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use disruption::{Disruption, Disruptor, Outcome, Port};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST};
use http::{Method, Request, StatusCode};
use socket2::SockRef;
use ureq::Agent;

use crate::interop::host::{Asked, Host, bind};
use crate::interop::push::agent;
use crate::interop::token_server::issuer::{Issuer, Rules, TokenRequest};
use crate::wire::{Reply, start, write_reply};

/// A reverse proxy in front of a registry, on three ports: the registry's, that of a second origin as a
/// target of redirects, and that of its token server.
#[derive(Debug)]
pub struct Proxy {
    registry: Host,
    _elsewhere: Host,
    _tokens: Host,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    target: SocketAddr,
    agent: Agent,
    issuer: Issuer,
    disruption: Mutex<Disruptor>,
    seen: Mutex<Seen>,
}

/// The requests that a proxy received, and their outcomes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Seen {
    /// The requests at the registry's port, in order of arrival: `GET /v2/`.
    pub asked: Vec<String>,
    /// The requests at all ports, by outcome.
    pub fates: BTreeMap<&'static str, u64>,
    /// The headers `Authorization`, `Cookie` and `Proxy-Authorization` received at the second origin.
    pub shown_elsewhere: Vec<String>,
}

impl Seen {
    /// The number of requests with an outcome.
    pub fn of(&self, outcome: &str) -> u64 {
        self.fates.get(outcome).copied().unwrap_or_default()
    }

    fn count(&mut self, outcome: &Outcome) {
        *self.fates.entry(outcome.name()).or_default() += 1;
    }

    fn correct(&mut self, from: &Outcome, to: &Outcome) {
        if let Some(count) = self.fates.get_mut(from.name()) {
            *count -= 1;
            self.count(to);
        }
    }

    /// The number of requests at all ports.
    pub fn requests(&self) -> u64 {
        self.fates.values().sum()
    }

    /// The number of requests that a client has to retry.
    pub fn failures(&self) -> u64 {
        ["unavailable", "closed", "reset", "throttled", "cut", "cut body"]
            .iter()
            .map(|outcome| self.of(outcome))
            .sum()
    }
}

impl Proxy {
    /// A proxy for `target` that forwards everything.
    ///
    /// # Panics
    /// No port is available.
    pub fn before(target: SocketAddr) -> Self {
        Self::with(target, &[], 0, Rules::default())
    }

    /// A proxy for `target` with disruptions chosen by `seed`, and with the token server's rules.
    ///
    /// # Panics
    /// No port or no randomness is available.
    pub fn with(target: SocketAddr, disruptions: &[Disruption], seed: u64, rules: Rules) -> Self {
        let [registry, elsewhere, tokens] = [(); 3].map(|()| bind());
        let address =
            |listener: &std::net::TcpListener| listener.local_addr().expect("a listener has an address");
        let state = Arc::new(State {
            target,
            agent: agent(),
            issuer: Issuer::new(rules, address(&tokens)),
            disruption: Mutex::new(Disruptor::new(disruptions, seed, address(&elsewhere))),
            seen: Mutex::default(),
        });
        let host = |listener, port| {
            let (deciding, state) = (state.clone(), state.clone());
            let length = move |asked: &Asked| deciding.disruptor().length(asked);
            Host::cutting(listener, length, move |asked, stream| state.answer(port, asked, stream))
        };
        let (registry, elsewhere) = (host(registry, Port::Registry), host(elsewhere, Port::Elsewhere));
        Self { registry, _elsewhere: elsewhere, _tokens: host(tokens, Port::Tokens), state }
    }

    /// The address of the registry's port.
    pub fn address(&self) -> SocketAddr {
        self.registry.address()
    }

    /// The requests since the last call.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.state.seen())
    }

    /// The requests since the last call that reached the token server.
    pub fn take_tokens(&self) -> Vec<TokenRequest> {
        self.state.issuer.take()
    }
}

impl State {
    /// Responds to a request. Returns whether the connection stays open.
    fn answer(&self, port: Port, asked: &Asked, stream: &mut TcpStream) -> io::Result<bool> {
        let scope = scope(asked.path());
        let allowed = self.issuer.allows(asked.header("authorization"), &scope);
        let outcome = self.disruptor().outcome(port, asked, allowed);
        let mut seen = self.seen();
        seen.count(&outcome);
        match port {
            Port::Registry => seen.asked.push(format!("{} {}", asked.method, asked.target)),
            Port::Elsewhere => {
                let shown = ["authorization", "cookie", "proxy-authorization"].map(|name| asked.header(name));
                seen.shown_elsewhere
                    .extend(shown.iter().filter(|value| !value.is_empty()).map(|value| (*value).to_owned()));
            }
            Port::Tokens => {}
        }
        drop(seen);
        let reply = match outcome {
            Outcome::Closed => return Ok(false),
            Outcome::Reset => {
                SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
                return Ok(false);
            }
            Outcome::Unavailable => Reply::new(503, &[], "not now"),
            Outcome::Throttled(seconds) => {
                Reply::new(429, &[("retry-after", &seconds.to_string())], "slowly")
            }
            Outcome::Challenged => {
                Reply::new(401, &[("www-authenticate", &self.issuer.challenge(&scope))], "")
            }
            Outcome::Redirected { status, location } => Reply::new(status, &[("location", &location)], ""),
            Outcome::Expired => Reply::new(403, &[], "this URL was used before"),
            Outcome::Served if port == Port::Tokens => self.issuer.answer(asked),
            Outcome::Served => return self.pass_on(asked, false, stream),
            Outcome::Cut => return self.pass_on(asked, true, stream),
            Outcome::CutBody => return self.pass_half_on(asked),
        };
        write_reply(stream, &asked.method, &reply)
    }

    /// Forwards a request, and returns the response or half of it.
    fn pass_on(&self, asked: &Asked, half: bool, stream: &mut TcpStream) -> io::Result<bool> {
        // The query of a redirect's target is the proxy's own.
        let is_read = [Method::GET, Method::HEAD].contains(&asked.method);
        let path = if is_read && !asked.target.contains("_state=") { asked.path() } else { &asked.target };
        let url = format!("http://{}{path}", self.target);
        let mut request = Request::new(());
        *request.method_mut() = asked.method.clone();
        *request.uri_mut() = url.parse().map_err(io::Error::other)?;
        *request.headers_mut() = asked.headers.clone();
        for name in [CONNECTION, HOST] {
            request.headers_mut().remove(name);
        }
        let sends = [Method::POST, Method::PUT, Method::PATCH].contains(&asked.method);
        let response =
            if sends { self.agent.run(request.map(|()| &asked.body[..])) } else { self.agent.run(request) };
        let (head, body) = response.map_err(io::Error::other)?.into_parts();
        let mut message = start(head.status, &head.headers);
        message.extend_from_slice(b"\r\n");
        stream.write_all(&message)?;
        if asked.method == Method::HEAD || head.status == StatusCode::NO_CONTENT {
            return Ok(true);
        }
        let length = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let length: u64 = length.ok_or_else(|| io::Error::other("a response without a length"))?;
        let sent = if half { length.div_ceil(2) } else { length };
        if half && sent == length {
            // One byte cannot be halved.
            self.seen().correct(&Outcome::Cut, &Outcome::Served);
        }
        let body = body.into_with_config().limit(u64::MAX).reader();
        Ok(io::copy(&mut body.take(sent), stream)? == length)
    }

    /// Forwards the beginning of a request, closes that connection, and waits for the registry to notice.
    fn pass_half_on(&self, asked: &Asked) -> io::Result<bool> {
        let mut registry = TcpStream::connect(self.target)?;
        write!(registry, "{} {} HTTP/1.1\r\n", asked.method, asked.target)?;
        for (name, value) in &asked.headers {
            write!(registry, "{name}: {}\r\n", value.to_str().map_err(io::Error::other)?)?;
        }
        registry.write_all(b"\r\n")?;
        registry.write_all(&asked.body)?;
        registry.shutdown(Shutdown::Write)?;
        io::copy(&mut registry, &mut io::sink())?;
        Ok(false)
    }

    fn disruptor(&self) -> MutexGuard<'_, Disruptor> {
        self.disruption.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The access that a request for this path requires.
fn scope(path: &str) -> String {
    let name = path.strip_prefix("/v2/").unwrap_or_default();
    let name = ["/manifests/", "/blobs/"].iter().find_map(|part| Some(name.split_once(part)?.0));
    format!("repository:{}:pull", name.unwrap_or_default())
}

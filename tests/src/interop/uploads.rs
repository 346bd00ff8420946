//! A registry in memory that takes uploads of blobs, and interrupts them as its script says.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use oci_proto::Digest;

use crate::interop::host::{Asked, Host, bind};
use crate::wire::{Reply, write_reply};

/// What happens to the next request with a body.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "tests construct it")]
pub enum Fate {
    /// It is processed.
    Whole,
    /// It is processed, and answered after this time.
    Slow(Duration),
    /// The connection closes after this many bytes of the body, which are stored.
    Cut(usize),
    /// The connection closes after the body was processed, without a response.
    Unanswered,
    /// The registry answers before it reads the body, and closes the connection.
    Early(Reply),
}

/// A registry that takes uploads. It follows the specification where its script does not say otherwise.
///
/// Source: distribution-spec, "Pushing blobs".
#[derive(Debug)]
pub struct UploadRegistry {
    host: Host,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    script: VecDeque<Fate>,
    sessions: BTreeMap<String, Vec<u8>>,
    blobs: BTreeMap<String, Bytes>,
    asked: Vec<String>,
}

impl UploadRegistry {
    /// Starts an empty registry. The script has the fates of requests with bodies, in their order; those after
    /// its end are processed.
    ///
    /// # Panics
    /// No port is available.
    pub fn start(script: impl IntoIterator<Item = Fate>) -> Self {
        let state = State { script: script.into_iter().collect(), ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let (before, after) = (state.clone(), state.clone());
        let length = move |asked: &Asked| match lock(&before).script.front() {
            Some(Fate::Cut(length)) => *length,
            Some(Fate::Early(_)) => 0,
            Some(Fate::Whole | Fate::Slow(_) | Fate::Unanswered) | None => asked.length,
        };
        let answer = move |asked: &Asked, stream: &mut TcpStream| lock(&after).answer(asked, stream);
        Self { host: Host::cutting(bind(), length, answer), state }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.host.address()
    }

    /// A stored blob.
    pub fn blob(&self, digest: &Digest) -> Option<Bytes> {
        lock(&self.state).blobs.get(&digest.to_string()).cloned()
    }

    /// The methods of the requests since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).asked)
    }

    /// The number of upload sessions that are open.
    pub fn open_sessions(&self) -> usize {
        lock(&self.state).sessions.len()
    }

    /// The number of fates that are left in the script.
    pub fn left(&self) -> usize {
        lock(&self.state).script.len()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn answer(&mut self, asked: &Asked, stream: &mut TcpStream) -> io::Result<bool> {
        self.asked.push(asked.method.to_string());
        let fate = if asked.length > 0 { self.script.pop_front() } else { None };
        let reply = match &fate {
            Some(Fate::Early(reply)) => reply.clone(),
            Some(Fate::Cut(_)) => {
                self.append(asked);
                return Ok(false);
            }
            Some(Fate::Slow(time)) => {
                thread::sleep(*time);
                self.process(asked)
            }
            Some(Fate::Whole | Fate::Unanswered) | None => self.process(asked),
        };
        Ok(!matches!(fate, Some(Fate::Unanswered)) && write_reply(stream, &asked.method, &reply)?)
    }

    fn append(&mut self, asked: &Asked) -> Option<&mut Vec<u8>> {
        let content = self.sessions.get_mut(asked.path())?;
        content.extend_from_slice(&asked.body);
        Some(content)
    }

    fn process(&mut self, asked: &Asked) -> Reply {
        let gone = Reply::new(404, &[], "");
        let path = asked.path().to_owned();
        if asked.method == Method::HEAD {
            let digest = path.rsplit('/').next().unwrap_or_default();
            return Reply::new(if self.blobs.contains_key(digest) { 200 } else { 404 }, &[], "");
        }
        if asked.method == Method::POST {
            let location = format!("{path}{}", self.asked.len());
            self.sessions.insert(location.clone(), Vec::new());
            return Reply::new(202, &[("location", &location)], "");
        }
        let Some(stored) = self.sessions.get(&path).map(Vec::len) else { return gone };
        let starts_at = asked.header("content-range").split('-').next().and_then(|start| start.parse().ok());
        let range = format!("0-{}", stored.saturating_sub(1));
        if starts_at.is_some_and(|start: usize| start != stored) {
            return Reply::new(416, &[("location", &path), ("range", &range)], "");
        }
        match asked.method {
            Method::GET => Reply::new(204, &[("location", &path), ("range", &range)], ""),
            Method::DELETE => {
                self.sessions.remove(&path);
                Reply::new(204, &[], "")
            }
            Method::PATCH => {
                let stored = self.append(asked).map_or(0, |content| content.len());
                let range = format!("0-{}", stored.saturating_sub(1));
                Reply::new(202, &[("location", &path), ("range", &range)], "")
            }
            Method::PUT => {
                let digest = asked.query().split("digest=").nth(1).unwrap_or_default().to_owned();
                let Ok(expected) = digest.parse::<Digest>() else { return Reply::new(400, &[], "") };
                self.append(asked);
                let content = self.sessions.remove(&path).unwrap_or_default();
                if expected.algorithm().is_none_or(|by| Digest::of(by, &content) != expected) {
                    let error = serde_json::json!({"errors": [{"code": "DIGEST_INVALID"}]});
                    return Reply::json(400, &error);
                }
                self.blobs.insert(digest, content.into());
                Reply::new(201, &[("location", "/")], "")
            }
            _ => Reply::new(405, &[], ""),
        }
    }
}

//! A driver with the connection of an example, and content in memory.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::thread;
use std::time::{Duration, Instant};

use oci_proto::{Algorithm, Answer, Config, Credentials, Digest, Error, Event, Exchange, Held, OpId, Output};
use oci_proto::{Question, Session, Sink, Source, Time};

use crate::walk_over_tcp::connection::{Connection, Contents};

/// Runs operations on one connection.
pub(crate) struct Driver {
    pub(crate) session: Session,
    connection: Connection,
    pub(crate) contents: Stored,
    pub(crate) login: Option<Credentials>,
    start: Instant,
    /// Called before each request.
    pub(crate) before: Box<dyn FnMut(&Exchange)>,
    /// The reasons of retries.
    pub(crate) retried: Vec<String>,
}

impl Default for Driver {
    fn default() -> Self {
        Self::new(3)
    }
}

impl Driver {
    pub(crate) fn new(max_attempts: u32) -> Self {
        let mut config = Config::default();
        config.limits.max_attempts = max_attempts;
        config.limits.backoff_first = Duration::from_millis(1);
        Self {
            session: Session::new(config, 0),
            connection: Connection::new(Duration::from_millis(500)),
            contents: Stored::default(),
            login: None,
            start: Instant::now(),
            before: Box::new(|_| {}),
            retried: Vec::new(),
        }
    }

    pub(crate) fn run(&mut self, op: OpId) -> Result<(), Error> {
        loop {
            let now = Time::from_epoch(self.start.elapsed());
            match self.session.poll_output(now) {
                Output::Send(exchange) => {
                    (self.before)(&exchange);
                    let completion = self.connection.carry(exchange, &mut self.contents);
                    self.session.complete(now, completion);
                }
                Output::Ask(query, question) => {
                    let answer = match question {
                        Question::Credentials(_) => Answer::Credentials(self.login.clone()),
                        Question::Held { .. } => Answer::Held(Held::Nothing),
                        Question::Store { .. } => Answer::Stored,
                        Question::Document { .. } | Question::Referrers { .. } | Question::Read { .. } => {
                            panic!("nothing is sent")
                        }
                    };
                    self.session.answer(now, query, answer);
                }
                Output::Event(of, Event::Done) if of == op => return Ok(()),
                Output::Event(of, Event::Failed(error)) if of == op => return Err(error),
                Output::Event(_, Event::Retry(retry)) => {
                    let error = retry.error.to_string();
                    let known = ["the request was not sent", "the connection broke"];
                    self.retried
                        .extend(known.map(str::to_owned).into_iter().filter(|kind| error.contains(kind)));
                }
                Output::Event(..) | Output::Abort(_) => {}
                Output::Wait(Some(until)) => thread::sleep(until.saturating_since(now)),
                Output::Wait(None) => panic!("the operation hangs"),
            }
        }
    }
}

/// Content by its digest.
#[derive(Default)]
pub(crate) struct Stored {
    pub(crate) sinks: BTreeMap<Digest, Vec<u8>>,
    pub(crate) flushed: Vec<Digest>,
    pub(crate) sources: BTreeMap<Digest, Vec<u8>>,
}

impl Stored {
    pub(crate) fn add_source(&mut self, content: Vec<u8>) {
        self.sources.insert(Digest::of(Algorithm::Sha256, &content), content);
    }
}

impl Contents for Stored {
    fn write(&mut self, sink: &Sink, bytes: &[u8]) -> io::Result<()> {
        let stored = self.sinks.entry(sink.digest.clone()).or_default();
        stored.truncate(usize::try_from(sink.offset).map_err(io::Error::other)?);
        assert_eq!(stored.len() as u64, sink.offset, "a sink has no holes");
        stored.extend(bytes);
        Ok(())
    }

    fn flush(&mut self, sink: &Sink) -> io::Result<()> {
        self.flushed.push(sink.digest.clone());
        Ok(())
    }

    fn read(&mut self, source: &Source) -> io::Result<Box<dyn Read>> {
        let content = self.sources.get(&source.digest).ok_or(io::ErrorKind::NotFound)?;
        let range = usize::try_from(source.range.start).map_err(io::Error::other)?
            ..usize::try_from(source.range.end).map_err(io::Error::other)?;
        Ok(Box::new(io::Cursor::new(content[range].to_vec())))
    }
}

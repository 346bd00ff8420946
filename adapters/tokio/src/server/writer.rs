//! The one writer of a registry, which carries out what replies change.

use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use http::Response;
use http::request::Parts;
use oci_proto::server::{Begun, Body, Effect, Failure, Incoming, Reply, Server, Storage};
use oci_proto::{Repository, Time};
use tokio::sync::{oneshot, watch};

/// The maximum number of requests whose effects are carried out at once.
const BATCH: usize = 256;
/// The maximum number of repositories whose changes are carried out at once, since a storage on disk opens some
/// directories for each.
const REPOSITORIES: usize = 64;
/// The time between two looks for uploads that have expired.
const EXPIRY: Duration = Duration::from_secs(2);

/// The writer of a registry: a thread that ends with the last of these values.
///
/// It takes all requests that wait, has the server answer them, and carries out the effects of all their replies
/// together. Then it commits them, and answers. If they fail, it finds the request that fails, and carries out the
/// others. The server is locked only in between, so reads go on while the storage works.
///
/// A reply takes those before it into account, whose effects may fail. So all replies with effects are produced by this
/// thread, in the order in which they are carried out: at the end of each body, and at the start of each POST and
/// DELETE.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    jobs: Sender<Job>,
    clock: Clock,
    /// Closed once the thread has ended.
    ended: watch::Receiver<()>,
}

/// The clock of a registry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn now(self) -> Time {
        Time::from_epoch(self.0.elapsed())
    }
}

/// A body that is being received. If it is dropped, its upload can be continued without the bytes that it had.
#[derive(Debug)]
pub(super) struct Receiving {
    incoming: Option<Incoming>,
    writer: Writer,
}

/// The start of the answer to a request.
#[derive(Debug)]
pub(super) enum Started {
    Response(Response<Body>),
    Receive(Receiving),
}

/// How a body has ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// All of it was received and is durable, or it is too large.
    Complete,
    /// It broke off. What was received is durable.
    BrokenOff,
    /// It could not be stored.
    Failed(Failure),
}

#[derive(Debug)]
enum Job {
    Begin(Box<Parts>, Writer, oneshot::Sender<Started>),
    End(Box<Incoming>, End, Option<oneshot::Sender<Response<Body>>>),
    /// Tells when all jobs before it are done.
    Settle(oneshot::Sender<()>),
}

/// Where the response of a request goes.
enum Answer {
    Begin(oneshot::Sender<Started>),
    End(Option<oneshot::Sender<Response<Body>>>),
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(
        server: Arc<RwLock<Server>>,
        storage: impl Storage + Send + 'static,
        clock: Clock,
    ) -> io::Result<Self> {
        let (jobs, waiting) = channel();
        let thread = Thread { server, storage, clock };
        let (running, ended) = watch::channel(());
        thread::Builder::new().name("registry-writer".to_owned()).spawn(move || {
            thread.run(&waiting);
            // The storage is closed.
            drop(running);
        })?;
        Ok(Self { jobs, clock, ended })
    }

    /// Begins the answer to a request. Returns `None` if the writer has panicked.
    pub(super) async fn begin(&self, head: Parts) -> Option<Started> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Begin(Box::new(head), self.clone(), answer)).ok()?;
        answered.await.ok()
    }

    /// Waits until all requests so far are answered.
    pub(super) async fn settle(&self) {
        let (done, settled) = oneshot::channel();
        if self.jobs.send(Job::Settle(done)).is_ok() {
            // An error means that nothing will ever be done.
            let _ = settled.await;
        }
    }

    /// Drops this value, and waits until the thread has ended, with the last of these values.
    pub(super) async fn close(self) {
        let Self { jobs, mut ended, .. } = self;
        drop(jobs);
        // Nothing is ever sent.
        while ended.changed().await.is_ok() {}
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }
}

impl Receiving {
    pub(super) fn new(incoming: Incoming, writer: Writer) -> Self {
        Self { incoming: Some(incoming), writer }
    }

    pub(super) fn incoming(&mut self) -> Option<&mut Incoming> {
        self.incoming.as_mut()
    }

    /// Returns the response. Returns `None` if the writer has panicked.
    pub(super) async fn end(mut self, end: End) -> Option<Response<Body>> {
        let (answer, answered) = oneshot::channel();
        let incoming = Box::new(self.incoming.take()?);
        self.writer.jobs.send(Job::End(incoming, end, Some(answer))).ok()?;
        answered.await.ok()
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if let Some(incoming) = self.incoming.take() {
            let end = End::Failed(Failure::Storage);
            // Without a writer, nothing can be done.
            let _ = self.writer.jobs.send(Job::End(Box::new(incoming), end, None));
        }
    }
}

struct Thread<S> {
    server: Arc<RwLock<Server>>,
    storage: S,
    clock: Clock,
}

impl<S: Storage> Thread<S> {
    fn run(mut self, jobs: &Receiver<Job>) {
        let mut expired = Instant::now();
        loop {
            match jobs.recv_timeout(EXPIRY.saturating_sub(expired.elapsed())) {
                Ok(first) => {
                    self.carry_out(batch(first, jobs));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if expired.elapsed() >= EXPIRY {
                self.expire();
                expired = Instant::now();
            }
        }
    }

    fn carry_out(&mut self, batch: Vec<Job>) {
        let mut waiting = Vec::new();
        let mut settled = Vec::new();
        for job in batch {
            let now = self.clock.now();
            let (reply, answer) = match job {
                Job::Begin(head, writer, answer) => match self.locked(|server| server.begin(now, &head)) {
                    Begun::Reply(reply) => (reply, Answer::Begin(answer)),
                    Begun::Receive(incoming) => {
                        // Nobody may be there to take it, which drops it.
                        let _ = answer.send(Started::Receive(Receiving::new(incoming, writer)));
                        continue;
                    }
                },
                Job::End(incoming, end, answer) => {
                    let reply = self.locked(|server| match end {
                        End::Complete => server.finish(now, *incoming),
                        End::BrokenOff => server.interrupted(now, *incoming, None),
                        End::Failed(failure) => server.interrupted(now, *incoming, Some(failure)),
                    });
                    (reply, Answer::End(answer))
                }
                Job::Settle(done) => {
                    settled.push(done);
                    continue;
                }
            };
            if reply.effects().is_some() {
                waiting.push((reply, answer));
            } else {
                answer.send(reply.done());
            }
        }
        self.apply(waiting, &mut None);
        for done in settled {
            // Nobody waits any more.
            let _ = done.send(());
        }
    }

    /// Carries out the effects of all replies together. If that fails, halves are tried, so that a request which cannot be
    /// carried out fails no other. `failed` is the failure of an earlier one.
    fn apply(&mut self, mut waiting: Vec<(Reply, Answer)>, failed: &mut Option<Failure>) {
        if let Some(failure) = *failed {
            for (reply, answer) in waiting.extract_if(.., |(reply, _)| reply.needs_earlier()) {
                self.end(reply, answer, Err(failure));
            }
        }
        if waiting.is_empty() {
            return;
        }
        let changes: Vec<_> = waiting.iter().filter_map(|(reply, _)| reply.effects()).collect();
        let applied = self.store(&changes);
        if applied.is_err() && waiting.len() > 1 {
            let rest = waiting.split_off(waiting.len() / 2);
            self.apply(waiting, failed);
            self.apply(rest, failed);
            return;
        }
        *failed = applied.err().or(*failed);
        for (reply, answer) in waiting {
            self.end(reply, answer, applied);
        }
    }

    /// Ends a request whose effects were carried out, or not.
    fn end(&self, reply: Reply, answer: Answer, applied: Result<(), Failure>) {
        self.locked(|server| match applied {
            Ok(()) => server.commit(&reply),
            Err(_) => server.roll_back(&reply),
        });
        answer.send(match applied {
            Ok(()) => reply.done(),
            Err(failure) => reply.failed(failure),
        });
    }

    fn expire(&mut self) {
        let expired = self.locked(|server| server.expire_uploads(self.clock.now()));
        if expired.is_empty() {
            return;
        }
        let ends: Vec<_> = expired
            .into_iter()
            .map(|(repository, upload)| (repository, [Effect::EndUpload(upload)]))
            .collect();
        let changes: Vec<_> = ends.iter().map(|(repository, effects)| (repository, &effects[..])).collect();
        if self.store(&changes).is_err() && changes.len() > 1 {
            for change in &changes {
                // Otherwise the storage keeps bytes that nobody can reach until the next restart.
                let _ = self.store(slice::from_ref(change));
            }
        }
    }

    fn store(&mut self, changes: &[(&Repository, &[Effect])]) -> Result<(), Failure> {
        let storage = AssertUnwindSafe(&mut self.storage);
        catch_unwind(move || { storage }.apply(changes)).unwrap_or(Err(Failure::Storage))
    }

    fn locked<T>(&self, change: impl FnOnce(&mut Server) -> T) -> T {
        change(&mut self.server.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Takes jobs that wait, up to the limits.
fn batch(first: Job, jobs: &Receiver<Job>) -> Vec<Job> {
    let mut batch = Vec::new();
    let mut repositories = BTreeSet::new();
    let mut next = Some(first);
    while let Some(job) = next {
        repositories.extend(job.repository());
        batch.push(job);
        let is_full = batch.len() == BATCH || repositories.len() == REPOSITORIES;
        next = if is_full { None } else { jobs.try_recv().ok() };
    }
    batch
}

impl Job {
    fn repository(&self) -> Option<Repository> {
        match self {
            Self::Begin(head, ..) => Server::repository(head),
            Self::End(incoming, ..) => Some(incoming.repository().clone()),
            Self::Settle(_) => None,
        }
    }
}

impl Answer {
    fn send(self, response: Response<Body>) {
        // The client may be gone.
        match self {
            Self::Begin(answer) => _ = answer.send(Started::Response(response)),
            Self::End(Some(answer)) => _ = answer.send(response),
            Self::End(None) => {}
        }
    }
}

//! The threads of a call, which run its exchanges with a source or a sink.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Builder, Scope};

use oci_proto::{Completion, Error, Fault, FaultKind};

use crate::call::Call;
use crate::driver::{Shared, no_thread};
use crate::exchange::Job;
use crate::state::Poller;

/// The threads of a call. The limit on requests in flight bounds their number.
pub(crate) struct Threads<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    shared: Arc<Shared>,
    panicked: Arc<Panicked>,
}

/// The first panic of a thread.
type Panicked = Mutex<Option<Box<dyn Any + Send>>>;

/// Drives a call whose exchanges run on threads. A panic of a thread, which comes from the user's code, is resumed
/// once all threads have ended.
pub(crate) fn with_threads<'env, T>(
    call: Call,
    drive: impl for<'scope> FnOnce(&Call, &Threads<'scope, 'env>) -> Result<T, Error>,
) -> Result<T, Error> {
    let panicked = Arc::<Panicked>::default();
    // The scope waits for its threads, even if a hook panics here. Once the operation has failed or its call is
    // dropped, its exchanges are aborted: each thread ends at its next read or write, or when it has connected.
    let outcome = thread::scope(|scope| {
        let call = call;
        let (shared, panicked) = (Arc::clone(call.shared()), Arc::clone(&panicked));
        drive(&call, &Threads { scope, shared, panicked })
    });
    let panic = panicked.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(panic) = panic {
        panic::resume_unwind(panic);
    }
    outcome
}

impl<'scope> Threads<'scope, '_> {
    /// Runs an exchange on a new thread, and reports its end to the session. `held` is dropped after that.
    pub(crate) fn run<H: Send + 'scope>(
        &self,
        job: Box<Job>,
        held: H,
        carry: impl FnOnce(&Shared, Job, &mut H) -> Completion + Send + 'scope,
    ) {
        self.run_on(Builder::new(), job, held, carry);
    }

    fn run_on<H: Send + 'scope>(
        &self,
        thread: Builder,
        job: Box<Job>,
        mut held: H,
        carry: impl FnOnce(&Shared, Job, &mut H) -> Completion + Send + 'scope,
    ) {
        let id = job.id();
        let (shared, panicked) = (Arc::clone(&self.shared), Arc::clone(&self.panicked));
        let run = move || {
            let ended = panic::catch_unwind(AssertUnwindSafe(|| carry(&shared, *job, &mut held)));
            // The operation must not wait for this exchange after a panic.
            let ended = ended.map_err(|panic| {
                panicked.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
                Fault::new(FaultKind::Storage, "the source, the destination or a hook panicked")
            });
            shared.drive(&mut shared.end(id, ended), Poller::Other);
        };
        if let Err(error) = thread.spawn_scoped(self.scope, run) {
            let ended = Err(no_thread(&error));
            self.shared.drive(&mut self.shared.end(id, ended), Poller::Other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Message;
    use crate::tests::upload::{client, content, describe, serve};
    use oci_proto::Event;

    #[test]
    fn a_thread_that_cannot_be_started_fails_its_exchange() {
        let server = serve(drop);
        let client = client();
        let (_, digest) = content(10);
        let call =
            client.call("upload", |session| session.upload(&server.reference, &describe(&digest, 10), None));
        let error = with_threads(call, |call, threads| {
            loop {
                match call.message() {
                    // No address space has room for the stack.
                    Message::Exchange(job) => {
                        threads.run_on(Builder::new().stack_size(1 << 60), job, (), |_, job, ()| {
                            job.refuse(Fault::new(FaultKind::Storage, "it runs"))
                        });
                    }
                    Message::Event(Event::Failed(error)) => return Err(error),
                    Message::Event(Event::Done) => return Ok(()),
                    message => call.ignore(message),
                }
            }
        })
        .unwrap_err();
        let fault = error.fault().unwrap();
        assert_eq!(fault.kind(), FaultKind::NotSent, "{fault}");
        assert!(fault.message().starts_with("could not start a thread: "), "{fault}");
    }
}

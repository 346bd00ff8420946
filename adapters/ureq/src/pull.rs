//! Pulls whole trees into layouts on disk.

use std::ops::ControlFlow;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Scope};

use oci_proto::layout::RefName;
use oci_proto::{Answer, Completion, Descriptor, Error, Event, Fault, FaultKind, Question, StoreContent};
use oci_proto_layout::{LayoutDestination, LayoutError, PullError};

use crate::call::Call;
use crate::driver::Shared;
use crate::exchange::Job;
use crate::state::{Message, Poller};

/// The size of the chunks in which a blob is read, hashed and written, in bytes.
const CHUNK: usize = 128 << 10;

/// Writes the content of a pull into a layout. Returns the root's descriptor.
pub(crate) fn pull(
    call: Call,
    destination: &LayoutDestination,
    name: Option<&RefName>,
) -> Result<Descriptor, PullError> {
    let shared = Arc::clone(call.shared());
    let pull = Pull { shared: &shared, destination, broken: OnceLock::new() };
    // The scope waits for its threads, even if a hook panics here. Once the operation has failed or its call is
    // dropped, its exchanges are aborted: each thread ends at its next read, or when it has connected.
    let root = thread::scope(|scope| {
        let call = call;
        pull.drive(&call, scope)
    });
    let root = root.map_err(|error| match pull.broken.into_inner() {
        // The typed error is more precise.
        Some(broken) if error.fault().is_some_and(|fault| fault.kind() == FaultKind::Storage) => {
            broken.into()
        }
        _ => PullError::Registry(error),
    })?;
    destination.done(&root, name)?;
    Ok(root)
}

/// The state that the threads of a pull share.
struct Pull<'a> {
    shared: &'a Arc<Shared>,
    destination: &'a LayoutDestination,
    /// The first error of the layout.
    broken: OnceLock<LayoutError>,
}

impl Pull<'_> {
    fn drive<'scope>(
        &'scope self,
        call: &Call,
        scope: &'scope Scope<'scope, '_>,
    ) -> Result<Descriptor, Error> {
        let mut root = None;
        loop {
            match call.message() {
                // The limit on requests in flight bounds the number of threads.
                Message::Exchange(job) => {
                    scope.spawn(move || self.run(*job));
                }
                Message::Ask(query, question) => call.answer(query, self.answer(&question)),
                Message::Event(Event::Resolved(descriptor)) => root = Some(descriptor),
                Message::Event(Event::Skipped(descriptor)) => self.destination.skipped(&descriptor),
                Message::Event(Event::Failed(error)) => return Err(error),
                Message::Event(Event::Done) => return Ok(root.expect("a session resolves before it is done")),
                Message::Event(_) => {}
            }
        }
    }

    fn answer(&self, question: &Question) -> Answer {
        let answer = match question {
            Question::Held { descriptor, .. } => self.destination.wanted(descriptor).map(Answer::Held),
            Question::Store { descriptor, content, .. } => match content {
                StoreContent::Document(manifest) => self.destination.store(descriptor, manifest.bytes()),
                StoreContent::Bytes(bytes) => self.destination.store(descriptor, bytes),
                StoreContent::Sink => self.destination.verified(&descriptor.digest),
            }
            .map(|()| Answer::Stored),
            Question::Credentials(_) => {
                let fault = Fault::new(FaultKind::Unsupported, "a pull has no credentials");
                return Answer::Failed(fault);
            }
        };
        answer.unwrap_or_else(|error| Answer::Failed(self.fault(error)))
    }

    /// Runs an exchange, and reports its end to the session.
    fn run(&self, job: Job) {
        let id = job.id();
        // A hook of the layout may panic. The pull must not wait for this exchange then.
        let ended = panic::catch_unwind(AssertUnwindSafe(|| self.write(job)));
        let (ended, panic) = match ended {
            Ok(completion) => (Ok(completion), None),
            Err(panic) => (Err(Fault::new(FaultKind::Storage, "writing the blob panicked")), Some(panic)),
        };
        let mut state = self.shared.end(id, ended);
        self.shared.drive(&mut state, Poller::Other);
        drop(state);
        if let Some(panic) = panic {
            panic::resume_unwind(panic);
        }
    }

    /// Runs an exchange whose body goes into the file of its blob.
    fn write(&self, job: Job) -> Completion {
        let transport = &self.shared.transport;
        let mut open = match job.open(transport, self.shared.now(), None) {
            ControlFlow::Continue(open) => open,
            ControlFlow::Break(completion) => return completion,
        };
        let mut buffer = vec![0; CHUNK];
        while let Some(read) = open.read(transport, &mut buffer) {
            if let Some(sink) = open.sink()
                && read > 0
                && let Err(error) = self.destination.append(sink, &buffer[..read])
            {
                return open.refuse(self.fault(error));
            }
        }
        open.end()
    }

    /// Converts an error of the layout to a fault. The first one is kept for the user.
    fn fault(&self, error: LayoutError) -> Fault {
        let fault = Fault::new(FaultKind::Storage, &error);
        // Later errors are consequences of the first, or equivalent to it.
        let _ = self.broken.set(error);
        fault
    }
}

//! Pulls whole trees into layouts on disk.

use std::ops::ControlFlow;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, Scope};

use oci_proto::layout::RefName;
use oci_proto::{Completion, Descriptor, Error, Event, Fault, FaultKind};
use oci_proto_layout::{LayoutDestination, PullError};

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
    let pull = Pull { shared: &shared, destination };
    // The scope waits for its threads, even if a hook panics here. Once the operation has failed or its call is
    // dropped, its exchanges are aborted: each thread ends at its next read, or when it has connected.
    let root = thread::scope(|scope| {
        let call = call;
        pull.drive(&call, scope)
    });
    let root = root.map_err(|error| destination.failed(error))?;
    destination.done(&root, name)?;
    Ok(root)
}

/// The state that the threads of a pull share.
struct Pull<'a> {
    shared: &'a Arc<Shared>,
    destination: &'a LayoutDestination,
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
                Message::Ask(query, question) => call.answer(query, self.destination.answer(&question)),
                Message::Event(Event::Resolved(descriptor)) => root = Some(descriptor),
                Message::Event(Event::Skipped(descriptor)) => self.destination.skipped(&descriptor),
                Message::Event(Event::Failed(error)) => return Err(error),
                Message::Event(Event::Done) => return Ok(root.expect("a session resolves before it is done")),
                Message::Event(_) => {}
            }
        }
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
                && let Err(fault) = self.destination.append(sink, &buffer[..read])
            {
                return open.refuse(fault);
            }
        }
        open.end()
    }
}

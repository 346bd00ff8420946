//! Whole trees into layouts on disk.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope};

use oci_proto::layout::RefName;
use oci_proto::{Completion, Descriptor, Event, Fault, FaultKind};
use oci_proto_layout::{LayoutDestination, PullError};

use crate::call::Call;
use crate::driver::Shared;
use crate::exchange::Job;
use crate::state::{Step, Turn};

/// How much is read, hashed and written at a time.
const CHUNK: usize = 128 << 10;

/// Keeps what a pull brings; the root's descriptor.
pub(crate) fn pull(
    call: &Call,
    mirror: &LayoutDestination,
    name: Option<&RefName>,
) -> Result<Descriptor, PullError> {
    // What the threads read is of no use any more once the pull has ended.
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let ended = Ended(&over);
        let result = drive(call, mirror, &over, scope);
        drop(ended);
        let root = result?;
        mirror.done(&root, name)?;
        Ok(root)
    })
}

/// Says that the pull is over when it is dropped: a panic in a hook must not wait for the threads either.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn drive<'scope>(
    call: &'scope Call,
    mirror: &'scope LayoutDestination,
    over: &'scope AtomicBool,
    scope: &'scope Scope<'scope, '_>,
) -> Result<Descriptor, PullError> {
    let mut root = None;
    loop {
        match call.step() {
            // As many at a time as there may be requests to a registry.
            Step::Carry(job) => {
                let shared = call.shared();
                scope.spawn(move || complete(shared, carry(job, shared, mirror, over)));
            }
            Step::Event(Event::Resolved(descriptor)) => root = Some(descriptor),
            Step::Event(Event::Wanted(descriptor)) => {
                let held = mirror.wanted(&descriptor)?;
                call.held(&descriptor.digest, held);
            }
            Step::Event(Event::Verified(digest)) => mirror.verified(&digest)?,
            Step::Event(Event::Store(descriptor, bytes)) => mirror.store(&descriptor, &bytes)?,
            Step::Event(Event::Skipped(descriptor)) => mirror.skipped(&descriptor),
            Step::Event(Event::Failed(error)) => return Err(error.into()),
            Step::Event(Event::Done) => return Ok(root.expect("a session resolves before it is done")),
            Step::Event(_) => {}
        }
    }
}

/// Carries an exchange whose body goes into its blob's file.
fn carry(job: Job, shared: &Shared, mirror: &LayoutDestination, over: &AtomicBool) -> Completion {
    let mut open = match job.open(&shared.transport, shared.now()) {
        ControlFlow::Continue(open) => open,
        ControlFlow::Break(completion) => return completion,
    };
    let mut buffer = vec![0; CHUNK];
    while let Some(read) = open.read(&shared.transport, &mut buffer) {
        if over.load(Ordering::Relaxed) {
            return open.refuse(Fault::new(FaultKind::Sink, "the pull has ended"));
        }
        if let Some(sink) = open.sink()
            && read > 0
            && let Err(error) = mirror.append(&sink, &buffer[..read])
        {
            return open.refuse(Fault::new(FaultKind::Sink, error));
        }
    }
    open.end()
}

fn complete(shared: &Arc<Shared>, completion: Completion) {
    let mut state = shared.lock();
    state.complete(shared.now(), completion);
    shared.drive(&mut state, Turn::Passing);
}

//! Pulls whole trees into layouts on disk.

use oci_proto::layout::RefName;
use oci_proto::{Descriptor, Error, Event};
use oci_proto_layout::{LayoutDestination, PullError};

use crate::call::Call;
use crate::state::Message;
use crate::threads::{Threads, with_threads};

/// Writes the content of a pull into a layout. Returns the root's descriptor.
pub(crate) fn pull(
    call: Call,
    destination: &LayoutDestination,
    name: Option<&RefName>,
) -> Result<Descriptor, PullError> {
    let root = with_threads(call, |call, threads| drive(call, threads, destination));
    let root = root.map_err(|error| destination.failed(error))?;
    destination.done(&root, name)?;
    Ok(root)
}

fn drive<'env>(
    call: &Call,
    threads: &Threads<'_, 'env>,
    destination: &'env LayoutDestination,
) -> Result<Descriptor, Error> {
    let mut root = None;
    loop {
        match call.message() {
            Message::Exchange(job) => threads.run(job, (), |shared, job, ()| {
                job.write(&shared.transport, shared.now(), |sink, bytes| destination.append(sink, bytes))
            }),
            Message::Ask(query, question) => call.answer(query, destination.answer(&question)),
            Message::Event(Event::Resolved(descriptor)) => root = Some(descriptor),
            Message::Event(Event::Skipped(descriptor)) => destination.skipped(&descriptor),
            Message::Event(Event::Referrers(referrers)) => destination.referrers(&referrers),
            Message::Event(Event::Failed(error)) => return Err(error),
            Message::Event(Event::Done) => return Ok(root.expect("a session resolves before it is done")),
            Message::Event(_) => {}
        }
    }
}

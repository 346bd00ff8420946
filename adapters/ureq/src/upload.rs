//! The upload of content that can be read from any position.

use std::io::{self, Read};

use oci_proto::{Completion, Error, Event, Fault, FaultKind, Stored};
use oci_proto_common::{PayloadSource, ProgressHook, SentCounter, TreeSource};

use crate::call::Call;
use crate::driver::Shared;
use crate::exchange::Job;
use crate::state::Message;

/// Sends a blob. The calling thread runs its requests, since there is one at a time.
pub(crate) fn upload(call: &Call, tree: &dyn TreeSource, progress: &ProgressHook) -> Result<Stored, Error> {
    let mut how = None;
    loop {
        match call.message() {
            Message::Exchange(job) => call.complete(run(*job, call.shared(), tree, progress)),
            Message::Ask(query, _) => call.decline(query),
            Message::Event(event) => {
                progress.report_event(&event);
                match event {
                    Event::Stored(_, stored) => how = Some(stored),
                    Event::Failed(error) => return Err(error),
                    Event::Done => return Ok(how.expect("a session stores content before it is done")),
                    _ => {}
                }
            }
        }
    }
}

/// Runs an exchange whose payload comes from a source.
fn run(job: Job, shared: &Shared, tree: &dyn TreeSource, progress: &ProgressHook) -> Completion {
    let Some(source) = job.exchange.source() else {
        return job.refuse(Fault::new(FaultKind::Unsupported, "this call has no sink and no other source"));
    };
    let reader = match PayloadSource::open(tree, source) {
        Ok(reader) => reader,
        Err(error) => return job.refuse(Fault::new(FaultKind::Storage, error)),
    };
    let mut counted = Counted { reader, sent: SentCounter::new(source, progress.clone()) };
    job.run(&shared.transport, shared.now(), Some(&mut counted))
}

/// A source whose bytes are sent as they are read.
struct Counted {
    reader: PayloadSource,
    sent: SentCounter,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.sent.add(read);
        Ok(read)
    }
}

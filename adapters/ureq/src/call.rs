//! One operation, from its start to its end or to its drop.
use std::io::Write;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar};
use std::time::Duration;

use oci_proto::{Error, Event, Fault, FaultKind, OpId, Session};

use crate::exchange::Open;
use crate::pool::Driver;
use crate::state::{Step, Turn};

/// An operation that has been started. Cancelled when dropped.
pub(crate) struct Call {
    driver: Arc<Driver>,
    op: OpId,
    wake: Arc<Condvar>,
}

impl Call {
    pub(crate) fn start(
        driver: Arc<Driver>,
        timeout: Option<Duration>,
        begin: impl FnOnce(&mut Session) -> OpId,
    ) -> Self {
        let shared = &driver.0;
        let mut state = shared.lock();
        let op = begin(&mut state.session);
        let wake = state.open(op, timeout.map(|timeout| shared.now() + timeout));
        drop(state);
        Self { driver, op, wake }
    }

    /// Waits for the next event of an operation that has no sink.
    pub(crate) fn event(&self) -> Event {
        loop {
            match self.step() {
                Step::Event(event) => return event,
                Step::Carry(job) => {
                    let shared = &self.driver.0;
                    let completion = job.carry(&shared.transport, shared.now());
                    shared.lock().complete(shared.now(), completion);
                }
            }
        }
    }

    fn step(&self) -> Step {
        self.driver.0.step(self.op, &self.wake)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let shared = &self.driver.0;
        let mut state = shared.lock();
        state.close(self.op);
        shared.drive(&mut state, Turn::Passing);
    }
}

/// A blob that is arriving; its bytes are read by whoever wants them.
pub(crate) struct Download {
    call: Call,
    open: Option<Open>,
}

impl Download {
    pub(crate) fn new(call: Call) -> Self {
        Self { call, open: None }
    }

    /// The next bytes, at the front of `buffer`; none when all have come and have been verified.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let driver = Arc::clone(&self.call.driver);
        let shared = &driver.0;
        loop {
            let ended = match self.open.take() {
                Some(open) => match open.read(&shared.transport, buffer) {
                    ControlFlow::Continue((open, kept)) => {
                        self.open = Some(open);
                        if kept > 0 {
                            return Ok(kept);
                        }
                        continue;
                    }
                    ControlFlow::Break(completion) => completion,
                },
                None => match self.call.step() {
                    Step::Event(Event::Done) => return Ok(0),
                    Step::Event(Event::Failed(error)) => return Err(error),
                    Step::Event(_) => continue,
                    Step::Carry(job) => match job.open(&shared.transport, shared.now()) {
                        ControlFlow::Continue(open) => {
                            self.open = Some(open);
                            continue;
                        }
                        ControlFlow::Break(completion) => completion,
                    },
                },
            };
            shared.lock().complete(shared.now(), ended);
        }
    }

    /// Writes all bytes, in pieces as large as `buffer`. Returns how many there were.
    pub(crate) fn copy(mut self, writer: &mut impl Write, buffer: &mut [u8]) -> Result<u64, Error> {
        let mut written = 0;
        loop {
            let read = self.read(buffer)?;
            if read == 0 {
                return Ok(written);
            }
            if let Err(error) = writer.write_all(&buffer[..read]) {
                return Err(self.refuse(&Fault::new(FaultKind::Sink, error)));
            }
            written += read as u64;
        }
    }

    /// Ends the operation, since nothing takes the bytes that were read last.
    pub(crate) fn refuse(mut self, fault: &Fault) -> Error {
        let shared = &self.call.driver.0;
        let mut ended = self.open.take().map(|open| open.refuse(fault.clone()));
        loop {
            if let Some(completion) = ended.take() {
                shared.lock().complete(shared.now(), completion);
            }
            match self.call.step() {
                Step::Event(Event::Failed(error)) => return error,
                Step::Event(Event::Done) => unreachable!("a failed sink ends its operation with an error"),
                Step::Event(_) => {}
                Step::Carry(job) => ended = Some(job.refuse(fault.clone())),
            }
        }
    }
}

//! The reader of a request's payload.
//!
//! ureq reads the payload while it writes. A chunk is sent only after [`Sending::push`] has accepted it. An
//! error ends the request early and closes its connection.
//!
//! ureq writes a whole payload before it reads the response. If the response comes early, the
//! [connection](crate::tcp) discards what ureq still writes: the source is no longer read, and the rest of the
//! length is filled up.

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;

use oci_proto::{Fault, FaultKind, Sending};

use crate::link::Link;

/// Reads a payload from its source, and passes it to the core.
pub(crate) struct PayloadReader<'a> {
    source: &'a mut dyn Read,
    /// `None` once the source has ended or failed, or the response has come.
    sending: Option<Sending>,
    /// The number of bytes that were given to ureq.
    sent: u64,
    length: u64,
    link: Arc<Link>,
}

impl<'a> PayloadReader<'a> {
    pub(crate) fn new(source: &'a mut dyn Read, sending: Sending, link: Arc<Link>) -> Self {
        let length = sending.length();
        Self { source, sending: Some(sending), sent: 0, length, link }
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, Fault> {
        loop {
            let length = read(self.source, buffer)?;
            let Some(sending) = &mut self.sending else { return Ok(0) };
            let payload = sending.push(&buffer[..length])?;
            if sending.sent() == sending.length() {
                // The last bytes are sent only if the source ends with them.
                let mut beyond = [0];
                let more = read(self.source, &mut beyond)?;
                if more > 0 {
                    sending.push(&beyond)?;
                }
            }
            if length == 0 {
                self.sending.take().map_or(Ok(()), Sending::finish)?;
                return Ok(0);
            }
            if !payload.is_empty() {
                let length = payload.len();
                buffer.copy_within(payload, 0);
                return Ok(length);
            }
        }
    }
}

impl Read for PayloadReader<'_> {
    /// Errors contain a [`Fault`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.link.is_answered() {
            self.sending = None;
            let left = usize::try_from(self.length - self.sent).unwrap_or(usize::MAX);
            let discarded = left.min(buffer.len());
            buffer[..discarded].fill(0);
            self.sent += discarded as u64;
            return Ok(discarded);
        }
        let read = self.next(buffer).map_err(|fault| {
            self.sending = None;
            io::Error::other(fault)
        })?;
        self.sent += read as u64;
        Ok(read)
    }
}

fn read(source: &mut dyn Read, buffer: &mut [u8]) -> Result<usize, Fault> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome.map_err(|error| Fault::new(FaultKind::Storage, error)),
        }
    }
}

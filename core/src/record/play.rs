//! Plays a transcript to an exchange.

use crate::error::fault::{Fault, FaultKind};
use crate::wire::exchange::Exchange;
use crate::wire::exchange::completion::Completion;
use crate::wire::exchange::transcript::{RecordedBody, Transcript};

impl Transcript {
    /// Completes an exchange with the recorded response, in place of a network.
    ///
    /// If the recording omits the bytes of a blob or of a payload, only an exchange of a session
    /// [for replay](crate::Session::for_replay) accepts it. Any other exchange fails, since its session would
    /// have to verify the bytes.
    pub fn play(&self, exchange: Exchange) -> Completion {
        let lacks_payload = self.sent > 0 && exchange.source().is_some();
        let lacks_body = matches!(self.body, RecordedBody::Blob { bytes: None, .. });
        let is_refused = (lacks_payload || lacks_body) && !exchange.is_replay;
        let (_, sending, mut awaiting) = exchange.split();
        awaiting.is_private = self.is_private;
        if is_refused {
            let message = "the recording omits the content, so it cannot be verified";
            return awaiting.fail(Fault::new(FaultKind::Unsupported, message));
        }
        if let Some(sending) = sending {
            sending.assume(self.sent, self.wrong_source.clone());
        }
        let Some((status, headers)) = &self.head else {
            let ended = || Fault::new(FaultKind::Reset, "the recording has no response");
            return awaiting.fail(self.fault.clone().unwrap_or_else(ended));
        };
        let mut receiving = awaiting.head(*status, headers.clone());
        match &self.body {
            RecordedBody::Unread => {}
            RecordedBody::Blob { bytes: Some(bytes), .. } if !receiving.is_assumed() => {
                // The recorded exchange may have refused the rest of the body too.
                let _ = receiving.push(bytes);
            }
            RecordedBody::Blob { length, digest, .. } => receiving.assume(*length, digest),
            RecordedBody::Refusal(bytes) => receiving.push_refusal(bytes),
            RecordedBody::Token(bytes) | RecordedBody::Document(bytes) => {
                let _ = receiving.push(bytes);
            }
        }
        match &self.fault {
            Some(fault) => receiving.fail(fault.clone()),
            None => receiving.finish(),
        }
    }
}

//! A readable trace of a run.

use oci_proto::{ExchangeId, Time};

use crate::transcript::parse::Answer;

/// Receives the lines of a trace, if there is a receiver.
#[derive(Default)]
pub(super) struct Trace(Option<Tell>);

type Tell = Box<dyn Fn(&str)>;

impl Trace {
    /// A trace that passes on each line as it is written.
    pub(super) fn told(tell: impl Fn(&str) + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// Writes a line, if there is a receiver.
    pub(super) fn note(&self, now: Time, line: impl FnOnce() -> String) {
        if let Some(tell) = &self.0 {
            tell(&format!("{:>9.3} {}", now.since_epoch().as_secs_f64(), line()));
        }
    }

    pub(super) fn answered(&self, now: Time, id: ExchangeId, answer: &Answer) {
        self.note(now, || {
            let Answer { status, headers, body, cut, .. } = answer;
            let headers = headers.iter().map(|(name, value)| format!("{name}: {value:?}"));
            let headers = headers.collect::<Vec<_>>().join("; ");
            let cut = cut.as_ref().map(|(at, fault)| format!(", after {at} of them {fault}"));
            let cut = cut.unwrap_or_default();
            format!("  < {id:?} {} ({headers}) {} bytes{cut}", status.as_u16(), body.len())
        });
    }
}

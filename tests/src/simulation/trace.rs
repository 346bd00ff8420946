//! What happens in a run, for a person to read.

use oci_proto::{ExchangeId, Time};

use crate::transcript::Answer;

/// Lines of what happens, if anybody wants to know.
#[derive(Default)]
pub(super) struct Trace(Option<Tell>);

type Tell = Box<dyn Fn(&str)>;

impl Trace {
    /// Tells what happens as it happens.
    pub(super) fn told(tell: impl Fn(&str) + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// Takes note of what happens, unless nobody wants to know.
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

//! Transient failures: a client that retries and resumes succeeds in the end.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderValue, Method, StatusCode};
use oci_proto::header::ContentRange;
use oci_proto::{Fault, FaultKind};

use crate::simulation::answers::Asked;
use crate::simulation::choices::Choices;
use crate::simulation::transfer::{DATE, HALF_A_MINUTE_LATER};
use crate::simulation::world::World;
use crate::transcript::parse::Answer;

impl World<'_> {
    /// A transient failure if the request has an attempt left; otherwise the correct response.
    pub(super) fn transient_failure(
        &mut self,
        registry: usize,
        asked: &Asked<'_>,
        choices: &mut Choices<'_>,
    ) -> Result<Answer, Fault> {
        if !self.afford(registry, asked) {
            return Ok(self.truth(registry, asked));
        }
        self.count("transient failures");
        // A request that is not idempotent is repeated only if it was not processed.
        let kinds = if asked.head.method == Method::POST { 3 } else { 12 };
        match choices.below(kinds) {
            0 => Err(fault(FaultKind::Connect)),
            1 | 2 => Ok(self.busy(choices)),
            3 => Err(fault(FaultKind::Reset)),
            4 => Err(fault(FaultKind::Timeout)),
            5 => Ok(self.refusal(choices.pick(&[500, 502, 504, 408, 425, 499, 520]), &[])),
            6 | 7 => Ok(truncated(self.truth(registry, asked), choices)),
            8 => Ok(narrowed(self.truth(registry, asked), choices)),
            _ => Ok(cut(self.truth(registry, asked), choices)),
        }
    }

    /// Too many requests, or an overloaded server, with or without a Retry-After.
    fn busy(&mut self, choices: &mut Choices<'_>) -> Answer {
        let status = choices.pick(&[429, 503]);
        let mut answer = self.refusal(status, &[("date", DATE)]);
        let waits = ["1", "0", "100", HALF_A_MINUTE_LATER, "soon", "Sun, 06 Nov 1994 08:49:07 GMT"];
        if let Some(wait) = waits.get(choices.below(waits.len() + 1)) {
            answer.headers.insert("retry-after", HeaderValue::from_static(wait));
        }
        answer
    }
}

/// Breaks off or stalls after any byte.
fn cut(mut answer: Answer, choices: &mut Choices<'_>) -> Answer {
    let kind = choices.pick(&[FaultKind::Reset, FaultKind::Timeout, FaultKind::Reset]);
    let at = match choices.below(4) {
        0 => usize::from(choices.byte()),
        1 => answer.body.len(),
        2 => answer.body.len().saturating_sub(1),
        _ => answer.body.len() * usize::from(choices.byte()) / 256,
    };
    answer.cut = Some((at, fault(kind)));
    answer
}

/// Ends early but properly; the head reveals it.
fn truncated(mut answer: Answer, choices: &mut Choices<'_>) -> Answer {
    if !answer.headers.contains_key(CONTENT_LENGTH) || !answer.status.is_success() {
        return cut(answer, choices);
    }
    let end = answer.body.len() * usize::from(choices.byte()) / 256;
    answer.body.truncate(end);
    answer
}

/// A part of the requested range.
fn narrowed(mut answer: Answer, choices: &mut Choices<'_>) -> Answer {
    let value = answer.headers.get(CONTENT_RANGE);
    let range = value.and_then(|value| ContentRange::parse(value.as_bytes()).ok());
    let Some((part, total)) = range.and_then(|range| Some((range.range()?, range.total()))) else {
        return cut(answer, choices);
    };
    if answer.status != StatusCode::PARTIAL_CONTENT {
        return cut(answer, choices);
    }
    let size = 1 + (answer.body.len() - 1) * usize::from(choices.byte()) / 256;
    answer.body = Bytes::copy_from_slice(&answer.body[..size]);
    let narrowed =
        ContentRange::of(part.start..part.start + size as u64, total).expect("the range is within the total");
    let value = narrowed.to_string().parse().expect("a range is a valid header value");
    answer.headers.insert(CONTENT_RANGE, value);
    if answer.headers.contains_key(CONTENT_LENGTH) {
        answer.headers.insert(CONTENT_LENGTH, size.into());
    }
    answer
}

fn fault(kind: FaultKind) -> Fault {
    Fault::new(kind, "from the input")
}

//! Failures of requests that write, transient ones and wrong responses.

use http::header::{LOCATION, RANGE};
use http::{HeaderValue, Method};
use oci_proto::{Fault, FaultKind};

use crate::simulation::answers::Asked;
use crate::simulation::choices::Choices;
use crate::simulation::secrets::{SIGNATURE, mark};
use crate::simulation::store::is_writable;
use crate::simulation::world::{World, answer, authorization};
use crate::transcript::parse::Answer;

impl World<'_> {
    /// The number of bytes of a payload that a server reads before it responds, or the connection breaks.
    pub(super) fn read_until(
        &mut self,
        registry: usize,
        asked: &Asked<'_>,
        choices: &mut Choices<'_>,
    ) -> u64 {
        let length = asked.length();
        if asked.is_token() || length == 0 {
            return length;
        }
        self.shows = authorization(asked);
        let some = |choices: &mut Choices<'_>| length * choices.below(256) as u64 / 256;
        if self.early(registry, asked).is_some() {
            return if choices.flip() { some(choices) } else { length };
        }
        let breaks = choices.once_in(self.wildness) && choices.flip();
        if !breaks {
            return length;
        }
        if self.lies && choices.flip() {
            self.lied(registry);
        } else if !self.afford(registry, asked) {
            return length;
        }
        some(choices)
    }

    /// The response to a request before all of its payload has arrived.
    pub(super) fn answer_early(
        &mut self,
        registry: usize,
        asked: &Asked<'_>,
        choices: &mut Choices<'_>,
    ) -> Result<Answer, Fault> {
        if let Some(answer) = self.early(registry, asked) {
            self.count("early answers");
            return Ok(answer);
        }
        self.break_off(registry, asked);
        if asked.arrived.is_empty() && choices.flip() {
            self.count("payloads not sent");
            return Err(fault(choices.pick(&[FaultKind::NotSent, FaultKind::Connect])));
        }
        let is_lie = asked.op.is_some_and(|op| !self.fault_record.is_right(op, registry));
        // The session believes an early success for a document.
        let is_upload = asked.head.uri.path().contains("/blobs/uploads/");
        match choices.below(if is_lie && is_upload { 9 } else { 4 }) {
            0 | 1 => Err(fault(FaultKind::Reset)),
            2 => Err(fault(FaultKind::Timeout)),
            3 => {
                self.count("early answers");
                Ok(self.refusal(choices.pick(&[500, 503, 502, 429]), &[]))
            }
            _ => {
                self.count("early successes");
                Ok(answer(choices.pick(&[201, 202, 204, 200]), &[], ""))
            }
        }
    }

    /// A connection breaks. The server keeps what has arrived, or forgets the upload.
    pub(super) fn break_off(&mut self, registry: usize, asked: &Asked<'_>) {
        if !is_writable(&asked.head.uri) || asked.arrived.is_empty() {
            return;
        }
        self.count("payloads cut off");
        let Some(store) = self.stores.get_mut(registry) else { return };
        if let Some(account) = asked.op.and_then(|op| self.ledger.get_mut(&op)) {
            account.receive(&store.registry, asked);
        }
        if asked.is_complete() {
            // The server carries the request out, and its response is lost.
            store.respond(asked);
        } else {
            store.cut_off(asked);
        }
    }

    /// A transient failure of a request that writes, or the correct response if the operation cannot afford one.
    pub(super) fn failed_write(
        &mut self,
        registry: usize,
        asked: &Asked<'_>,
        choices: &mut Choices<'_>,
    ) -> Result<Answer, Fault> {
        let method = &asked.head.method;
        if [Method::GET, Method::HEAD].contains(method) {
            return self.transient_failure(registry, asked, choices);
        }
        let is_upload = asked.head.uri.path().contains("/blobs/uploads/");
        let has_payload = asked.length() > 0;
        let drawn = choices.below(8);
        if drawn == 7
            && is_upload
            && self.shows.starts_with("Bearer ")
            && self.fault_record.charge_expiry(registry)
        {
            self.count("tokens expired during an upload");
            self.secrets.revoke(&self.shows.clone(), self.now);
            return Ok(self.truth(registry, asked));
        }
        if !self.afford(registry, asked) {
            return Ok(self.truth(registry, asked));
        }
        self.count("transient failures");
        match drawn {
            0 => {
                Ok(self
                    .refusal(choices.pick(&[503, 429]), &[("retry-after", choices.pick(&["1", "0", "30"]))]))
            }
            1 => Ok(self.refusal(choices.pick(&[500, 502, 504, 408, 499]), &[])),
            2 | 3 => {
                self.count("lost responses");
                let _ = self.truth(registry, asked);
                Err(fault(choices.pick(&[FaultKind::Reset, FaultKind::Timeout])))
            }
            4 | 5 if is_upload && !self.stores[registry].registry.habits.only_whole => {
                self.lose_session(registry, asked);
                Ok(self.truth(registry, asked))
            }
            _ if has_payload => Err(fault(FaultKind::Reset)),
            _ => Err(fault(FaultKind::Connect)),
        }
    }

    fn lose_session(&mut self, registry: usize, asked: &Asked<'_>) {
        if self.stores[registry].forget(&asked.head.uri) {
            self.count("lost sessions");
        }
    }

    /// A wrong response to a request to a repository that can be written to.
    pub(super) fn wrong_write(
        &mut self,
        registry: usize,
        asked: &Asked<'_>,
        choices: &mut Choices<'_>,
    ) -> Answer {
        self.lied(registry);
        match choices.below(12) {
            0..3 => self.wrong_response(registry, asked, choices),
            3 | 4 => {
                self.count("false ranges");
                let range = choices.pick(&[
                    "0-0",
                    "0-99",
                    "0--1",
                    "5-9",
                    "0-18446744073709551615",
                    "bytes=0-63",
                    "-",
                ]);
                let mut answer = match choices.below(4) {
                    0 => answer(416, &[], ""),
                    1 => answer(308, &[], ""),
                    _ => self.truth(registry, asked),
                };
                answer.headers.insert(RANGE, HeaderValue::from_static(range));
                answer
            }
            5 | 6 => {
                self.count("false locations");
                let mut answer = self.truth(registry, asked);
                let path = asked.head.uri.path();
                let query = format!("?sig={SIGNATURE}&{}", mark(registry));
                let location = match choices.below(8) {
                    0 => None,
                    1 => Some(format!("https://cdn.example{path}{query}")),
                    2 => Some(format!("http://evil.example{path}{query}")),
                    3 => Some(format!("https://other.example{path}{query}")),
                    4 => Some(format!("//upload.example{path}{query}")),
                    5 => Some("file:///etc/passwd".to_owned()),
                    6 => Some(format!("https://user:pw@registry.example{path}{query}")),
                    _ => Some(format!("/v2/team/new-a/blobs/uploads/{}{query}", choices.byte())),
                };
                match location {
                    None => _ = answer.headers.remove(LOCATION),
                    Some(location) => {
                        let location = location.parse().expect("a URL is a valid header value");
                        answer.headers.insert(LOCATION, location);
                    }
                }
                answer
            }
            7 => {
                self.lose_session(registry, asked);
                self.truth(registry, asked)
            }
            8 => {
                self.count("false successes");
                answer(choices.pick(&[201, 200, 202, 204]), &[], "")
            }
            9 => self.refusal(choices.pick(&[413, 416, 404, 400, 405, 409, 412, 415, 501]), &[]),
            10 => {
                if self.shows.starts_with("Bearer ") {
                    self.count("tokens expired during an upload");
                    self.secrets.revoke(&self.shows.clone(), self.now);
                }
                self.truth(registry, asked)
            }
            _ => {
                let _ = self.truth(registry, asked);
                self.refusal(choices.pick(&[500, 503, 400, 429]), &[])
            }
        }
    }
}

fn fault(kind: FaultKind) -> Fault {
    Fault::new(kind, "from the input")
}

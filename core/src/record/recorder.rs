//! Writes the calls of a session as text.

use crate::config::Config;
use crate::record::describe::seconds;
use crate::record::lines::Lines;
use crate::record::response::{fault, write, write_answer};
use crate::record::secrets::Secrets;
use crate::record::{settings, start};
use crate::session::call::{Call, Observer};
use crate::session::output::Output;
use crate::session::state::Session;
use crate::types::time::Time;
use crate::wire::exchange::transcript::Keep;

/// The version of the format. A program reads no other.
pub(super) const FORMAT: u32 = 1;

/// The version of this crate, which a recording states.
const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Session {
    /// Creates a session that is recorded, without the secrets of its conversation.
    ///
    /// `write` receives the text of each step as soon as it happens: lines, each of which ends with a newline. The
    /// whole is a recording, which a [`Player`](crate::record::Player) replays. [`record`](crate::record)
    /// describes it. The session is otherwise like a [new](Self::new) one, except that it takes the
    /// transcripts of its exchanges.
    pub fn recorded(
        config: Config,
        seed: u64,
        keep: Keep,
        write: impl FnMut(&str) + Send + Sync + 'static,
    ) -> Self {
        let mut recorder = Recorder { secrets: Secrets::new(), keep, now: None, write: Box::new(write) };
        recorder.begin(&config, seed);
        let mut session = Self::new(config, seed);
        session.observer = Some(Box::new(recorder));
        session
    }
}

struct Recorder {
    secrets: Secrets,
    keep: Keep,
    /// The time of the latest step with a time.
    now: Option<Time>,
    write: Box<dyn FnMut(&str) + Send + Sync>,
}

impl Recorder {
    fn begin(&mut self, config: &Config, seed: u64) {
        let mut lines = Lines::new(&format!("recording {FORMAT} by oci-proto {VERSION}"));
        lines.detail(&format!("seed {seed}"));
        settings::write(&mut lines, &mut self.secrets, config);
        (self.write)(&lines.0);
    }

    fn at(&mut self, now: Time, step: &str) {
        if self.now.replace(now) == Some(now) {
            (self.write)(step);
        } else {
            let time = seconds(now.since_epoch());
            (self.write)(&format!("at {time}\n{step}"));
        }
    }

    fn line(&mut self, line: &str) {
        (self.write)(&format!("{line}\n"));
    }
}

impl Observer for Recorder {
    fn note(&mut self, call: Call<'_>) {
        match call {
            Call::Start(number, start) => (self.write)(&start::write(number, start).0),
            Call::Poll(now, output) => {
                if let Output::Send(exchange) = output {
                    exchange.keep_transcript(self.keep);
                }
                let text = output_text(&mut self.secrets, output);
                self.at(now, &format!("{text}\n"));
            }
            Call::Complete(now, completion) => {
                // There is none if the driver has taken it.
                if let Some(transcript) = completion.take_transcript() {
                    let transcript = self.secrets.transcript(&transcript);
                    self.at(now, &write(completion.id().number(), &transcript).0);
                }
            }
            Call::Lost(now, exchange, lost) => {
                let lost = fault(&self.secrets.fault(lost));
                self.at(now, &format!("lost [{}] {lost}\n", exchange.number()));
            }
            Call::Answer(now, query, answer) => {
                let answer = write_answer(&mut self.secrets, query.number(), answer);
                self.at(now, &answer.0);
            }
            Call::Abandon(now) => self.at(now, "abandon\n"),
            Call::Deadline(op, at) => {
                self.line(&format!("deadline [{}] {}", op.number(), seconds(at.since_epoch())));
            }
            Call::Fail(op, failed) => {
                let failed = fault(&self.secrets.fault(failed));
                self.line(&format!("fail [{}] {failed}", op.number()));
            }
            Call::Cancel(op) => self.line(&format!("cancel [{}]", op.number())),
            Call::Pause(op) => self.line(&format!("pause [{}]", op.number())),
            Call::Resume(op) => self.line(&format!("resume [{}]", op.number())),
        }
    }
}

/// Returns the text of an output in a recording, without a final newline: that of [`Secrets::describe`], with a sign
/// and the number of the exchange, question or operation in front.
pub(super) fn output_text(secrets: &mut Secrets, output: &Output) -> String {
    let text = secrets.describe(output);
    let (words, sign) = match output {
        Output::Send(exchange) => {
            let number = exchange.id().number();
            (format!("send {number} "), format!("> [{number}] "))
        }
        Output::Ask(query, _) => (format!("ask {} ", query.number()), format!("? [{}] ", query.number())),
        Output::Event(op, _) => {
            (format!("event of operation {}: ", op.number()), format!("= [{}] ", op.number()))
        }
        Output::Abort(exchange) => return format!("abort [{}]", exchange.number()),
        Output::Wait(_) => return text,
    };
    format!("{sign}{}", text.strip_prefix(&words).unwrap_or(&text))
}

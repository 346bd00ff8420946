//! A recording as text: a line for each input, followed by the lines of its details.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use oci_proto::record::{RecordedBody, Transcript};
use oci_proto::{Credentials, Descriptor, Digest, Fault, FaultKind, Reference};

/// The inputs of a session, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Recording {
    pub(crate) seed: u64,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) now: Duration,
    pub(crate) input: Input,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    Start(Task, Reference),
    /// With the text of the output.
    Poll(String),
    Credentials(u64, Option<Credentials>),
    Held(u64, Holding),
    Stored(u64),
    /// The bytes of a stream, and whether they are its last ones.
    Read(u64, Bytes, bool),
    /// The bytes of a document that is sent.
    Document(u64, Bytes),
    /// The referrers of a document that is sent.
    Referrers(u64, Vec<Descriptor>),
    Complete(u64, Transcript),
    Lost(u64, Fault),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Task {
    Resolve,
    Walk,
    Pull,
    Check,
    /// Of some content, under a tag that is ignored.
    Upload,
    UploadStream,
    /// From the driver.
    Push,
    /// To [`DESTINATION`](crate::registry::DESTINATION).
    Copy,
    Tags,
    Referrers,
}

impl Task {
    pub(crate) const ALL: [Self; 10] = [
        Self::Resolve,
        Self::Walk,
        Self::Pull,
        Self::Check,
        Self::Upload,
        Self::UploadStream,
        Self::Push,
        Self::Copy,
        Self::Tags,
        Self::Referrers,
    ];
}

/// The part of some content that the driver held.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Holding {
    Nothing,
    Part(u64, Digest),
}

const TASKS: [(Task, &str); 10] = [
    (Task::Resolve, "resolve"),
    (Task::Walk, "walk"),
    (Task::Pull, "pull"),
    (Task::Check, "check"),
    (Task::Upload, "upload"),
    (Task::UploadStream, "upload-stream"),
    (Task::Push, "push"),
    (Task::Copy, "copy"),
    (Task::Tags, "tags"),
    (Task::Referrers, "referrers"),
];

const FAULTS: [(FaultKind, &str); 9] = [
    (FaultKind::Connect, "connect"),
    (FaultKind::Proxy, "proxy"),
    (FaultKind::Tls, "tls"),
    (FaultKind::Timeout, "timeout"),
    (FaultKind::Reset, "reset"),
    (FaultKind::Storage, "storage"),
    (FaultKind::Credentials, "credentials"),
    (FaultKind::NotSent, "not-sent"),
    (FaultKind::Unsupported, "unsupported"),
];

impl Recording {
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("seed {}\n", self.seed);
        for Step { now, input } in &self.steps {
            write!(text, "{} ", now.as_nanos()).unwrap();
            match input {
                Input::Start(task, reference) => writeln!(text, "{} {reference}", word(&TASKS, task)),
                Input::Poll(output) => writeln!(text, "poll\n> {}", output.replace('\n', "\n> ")),
                Input::Credentials(query, found) => {
                    writeln!(text, "credentials {query}{}", credentials(found.as_ref()))
                }
                Input::Held(query, Holding::Nothing) => writeln!(text, "held {query} nothing"),
                Input::Held(query, Holding::Part(offset, digest)) => {
                    writeln!(text, "held {query} part {offset} {digest}")
                }
                Input::Stored(query) => writeln!(text, "stored {query}"),
                Input::Read(query, bytes, is_last) => {
                    writeln!(text, "read {query} {is_last} {}", bytes.escape_ascii())
                }
                Input::Document(query, bytes) => writeln!(text, "document {query} {}", bytes.escape_ascii()),
                Input::Referrers(query, referrers) => {
                    write!(text, "of {query}").unwrap();
                    for Descriptor { media_type, digest, size, .. } in referrers {
                        write!(text, " {media_type} {digest} {size}").unwrap();
                    }
                    writeln!(text)
                }
                Input::Lost(exchange, fault) => writeln!(text, "lost {exchange} {}", fault_text(fault)),
                Input::Complete(exchange, transcript) => {
                    write!(text, "complete {exchange}\n{}", transcript_text(transcript))
                }
            }
            .unwrap();
        }
        text
    }

    pub(crate) fn read(text: &str) -> Self {
        let mut lines = text.lines().peekable();
        let seed = lines.next().and_then(|line| line.strip_prefix("seed ")?.parse().ok()).unwrap();
        let mut steps = Vec::new();
        while let Some(line) = lines.next() {
            let mut words = line.splitn(3, ' ');
            let now = Duration::from_nanos(words.next().unwrap().parse().unwrap());
            let (what, rest) = (words.next().unwrap(), words.next().unwrap_or_default());
            let mut more = Vec::new();
            while let Some(line) = lines.next_if(|line| line.starts_with("> ")) {
                more.push(&line[2..]);
            }
            let (number, rest_of_it) = rest.split_once(' ').unwrap_or((rest, ""));
            let number = || number.parse().unwrap();
            let input = match what {
                "poll" => Input::Poll(more.join("\n")),
                "credentials" => Input::Credentials(number(), read_credentials(rest_of_it)),
                "held" => Input::Held(number(), read_holding(rest_of_it)),
                "stored" => Input::Stored(number()),
                "read" => {
                    let (is_last, bytes) = rest_of_it.split_once(' ').unwrap();
                    Input::Read(number(), unescaped(bytes), is_last.parse().unwrap())
                }
                "document" => Input::Document(number(), unescaped(rest_of_it)),
                "of" => Input::Referrers(number(), read_referrers(rest_of_it)),
                "lost" => Input::Lost(number(), read_fault(rest_of_it)),
                "complete" => Input::Complete(number(), read_transcript(&more)),
                task => Input::Start(of_word(&TASKS, task), rest.parse().unwrap()),
            };
            steps.push(Step { now, input });
        }
        Self { seed, steps }
    }
}

fn word<T: PartialEq>(words: &[(T, &'static str)], value: &T) -> &'static str {
    words.iter().find(|(known, _)| known == value).unwrap().1
}

fn of_word<T: Copy>(words: &[(T, &'static str)], word: &str) -> T {
    words.iter().find(|(_, known)| *known == word).unwrap_or_else(|| panic!("{word}")).0
}

fn credentials(found: Option<&Credentials>) -> String {
    match found {
        None => String::new(),
        Some(Credentials::Basic { username, password }) => format!(" basic {username} {}", password.reveal()),
        Some(Credentials::Identity(token)) => format!(" identity {}", token.reveal()),
        Some(Credentials::Bearer(token)) => format!(" bearer {}", token.reveal()),
        Some(other) => panic!("{other:?}"),
    }
}

fn read_credentials(text: &str) -> Option<Credentials> {
    match text.split(' ').collect::<Vec<_>>()[..] {
        [""] => None,
        ["basic", username, password] => Some(Credentials::login(username, password).unwrap()),
        ["identity", token] => Some(Credentials::Identity(token.into())),
        ["bearer", token] => Some(Credentials::Bearer(token.into())),
        _ => panic!("{text}"),
    }
}

fn read_holding(text: &str) -> Holding {
    match text.split(' ').collect::<Vec<_>>()[..] {
        ["nothing"] => Holding::Nothing,
        ["part", offset, digest] => Holding::Part(offset.parse().unwrap(), digest.parse().unwrap()),
        _ => panic!("{text}"),
    }
}

fn read_referrers(text: &str) -> Vec<Descriptor> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let (referrers, []) = words.as_chunks() else { panic!("{text}") };
    let read = |[media_type, digest, size]: &[&str; 3]| {
        Descriptor::new(media_type.parse().unwrap(), digest.parse().unwrap(), size.parse().unwrap())
    };
    referrers.iter().map(read).collect()
}

fn fault_text(fault: &Fault) -> String {
    format!("{} {}", word(&FAULTS, &fault.kind()), fault.message())
}

fn read_fault(text: &str) -> Fault {
    let (kind, message) = text.split_once(' ').unwrap();
    Fault::new(of_word(&FAULTS, kind), message)
}

fn transcript_text(transcript: &Transcript) -> String {
    let mut text = format!("> sent {}\n", transcript.sent);
    if let Some((status, headers)) = &transcript.head {
        writeln!(text, "> status {}", status.as_u16()).unwrap();
        for (name, value) in headers {
            writeln!(text, "> header {name} {}", value.as_bytes().escape_ascii()).unwrap();
        }
    }
    match &transcript.body {
        RecordedBody::Unread => Ok(()),
        RecordedBody::Refusal(bytes) => writeln!(text, "> refusal {}", bytes.escape_ascii()),
        RecordedBody::Token(bytes) => writeln!(text, "> token {}", bytes.escape_ascii()),
        RecordedBody::Document(bytes) => writeln!(text, "> document {}", bytes.escape_ascii()),
        RecordedBody::Blob { length, digest, bytes } => {
            write!(text, "> blob {length} {digest}").unwrap();
            if let Some(bytes) = bytes {
                write!(text, " {}", bytes.escape_ascii()).unwrap();
            }
            writeln!(text)
        }
    }
    .unwrap();
    if let Some(fault) = &transcript.fault {
        writeln!(text, "> fault {}", fault_text(fault)).unwrap();
    }
    text
}

fn read_transcript(lines: &[&str]) -> Transcript {
    let (mut sent, mut status, mut headers) = (0, None, HeaderMap::new());
    let (mut body, mut fault) = (RecordedBody::Unread, None);
    for line in lines {
        let (what, rest) = line.split_once(' ').unwrap();
        match what {
            "sent" => sent = rest.parse().unwrap(),
            "status" => status = Some(StatusCode::from_bytes(rest.as_bytes()).unwrap()),
            "header" => {
                let (name, value) = rest.split_once(' ').unwrap();
                let name: HeaderName = name.parse().unwrap();
                headers.append(name, HeaderValue::from_bytes(&unescaped(value)).unwrap());
            }
            "refusal" => body = RecordedBody::Refusal(unescaped(rest)),
            "token" => body = RecordedBody::Token(unescaped(rest)),
            "document" => body = RecordedBody::Document(unescaped(rest)),
            "blob" => {
                let mut words = rest.splitn(3, ' ');
                body = RecordedBody::Blob {
                    length: words.next().unwrap().parse().unwrap(),
                    digest: words.next().unwrap().parse().unwrap(),
                    bytes: words.next().map(unescaped),
                };
            }
            "fault" => fault = Some(read_fault(rest)),
            other => panic!("{other}"),
        }
    }
    let mut transcript = match status {
        Some(status) => Transcript::answered(status, headers, body),
        None => Transcript::failed(fault.clone().unwrap()),
    };
    transcript.sent = sent;
    transcript.fault = fault;
    transcript
}

/// Reverses `escape_ascii`.
fn unescaped(text: &str) -> Bytes {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().unwrap() {
                b'x' => {
                    let mut digit = || char::from(rest.next().unwrap()).to_digit(16).unwrap();
                    u8::try_from(digit() << 4 | digit()).unwrap()
                }
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                other => other,
            },
            _ => byte,
        });
    }
    bytes.into()
}

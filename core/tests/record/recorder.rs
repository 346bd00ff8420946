//! A recorder between a driver and its session. It records inputs and outputs without secrets.

use std::sync::mpsc::{self, Receiver};

use bytes::Bytes;
use oci_proto::record::{Keep, Secrets};
use oci_proto::server::Memory;
use oci_proto::{
    Algorithm, Answer, Completion, Config, Credentials, Descriptor, Digest, Fault, Held, OpId, Output,
    Platform, PullOptions, PushOptions, QueryId, Reference, Session, Time, WalkOptions,
};

use crate::recording::{Holding, Input, Recording, Step, Task};
use crate::registry::DESTINATION;

/// The content of uploads.
pub(crate) const UPLOADED: &[u8] = b"0123456789abcdefghij01234";

pub(crate) struct Recorder {
    session: Session,
    secrets: Secrets,
    keep: Keep,
    recording: Recording,
    /// The texts that the session itself records, instead of this recorder.
    written: Option<Receiver<String>>,
}

impl Recorder {
    pub(crate) fn new(seed: u64, keep: Keep) -> Self {
        let recording = Recording { seed, steps: Vec::new() };
        let session = Session::new(config(), seed);
        Self { session, secrets: Secrets::new(), keep, recording, written: None }
    }

    /// Leaves the recording to the session.
    pub(crate) fn written(seed: u64, keep: Keep) -> Self {
        let (sender, written) = mpsc::channel();
        let write = move |text: &str| sender.send(text.to_owned()).expect("the recorder is there");
        let session = Session::recorded(config(), seed, keep, write);
        Self { session, written: Some(written), ..Self::new(seed, keep) }
    }

    pub(crate) fn into_text(self) -> String {
        self.written.iter().flat_map(Receiver::try_iter).collect()
    }

    pub(crate) fn into_recording(self) -> Recording {
        self.recording
    }

    pub(crate) fn start(&mut self, task: Task, reference: &Reference) -> OpId {
        self.note(Time::ZERO, Input::Start(task, reference.clone()));
        start(&mut self.session, task, reference)
    }

    pub(crate) fn poll_output(&mut self, now: Time) -> Output {
        let mut output = self.session.poll_output(now);
        let text = self.secrets.describe(&output);
        self.note(now, Input::Poll(text));
        if let Output::Send(exchange) = &mut output {
            exchange.keep_transcript(self.keep);
        }
        output
    }

    pub(crate) fn complete(&mut self, now: Time, mut completion: Completion) {
        if self.written.is_none() {
            let transcript = completion.take_transcript().expect("the recorder keeps transcripts");
            let transcript = self.secrets.transcript(&transcript);
            self.note(now, Input::Complete(completion.id().number(), transcript));
        }
        self.session.complete(now, completion);
    }

    pub(crate) fn lost(&mut self, now: Time, exchange: oci_proto::ExchangeId, fault: Fault) {
        let replaced = self.secrets.fault(&fault);
        self.note(now, Input::Lost(exchange.number(), replaced));
        self.session.lost(now, exchange, fault);
    }

    pub(crate) fn credentials(&mut self, now: Time, query: QueryId, found: Option<Credentials>) {
        let replaced = found.as_ref().map(|found| self.secrets.credentials(found));
        self.note(now, Input::Credentials(query.number(), replaced));
        self.session.answer(now, query, Answer::Credentials(found));
    }

    pub(crate) fn held(&mut self, now: Time, query: QueryId, held: Held) {
        let holding = match &held {
            Held::Nothing => Holding::Nothing,
            Held::Part { offset, hasher } => Holding::Part(*offset, hasher.clone().finish()),
            other => panic!("{other:?}"),
        };
        self.note(now, Input::Held(query.number(), holding));
        self.session.answer(now, query, Answer::Held(held));
    }

    pub(crate) fn stored(&mut self, now: Time, query: QueryId) {
        self.note(now, Input::Stored(query.number()));
        self.session.answer(now, query, Answer::Stored);
    }

    pub(crate) fn read(&mut self, now: Time, query: QueryId, bytes: Bytes, is_last: bool) {
        self.note(now, Input::Read(query.number(), bytes.clone(), is_last));
        self.session.answer(now, query, Answer::Read { bytes, is_last });
    }

    pub(crate) fn document(&mut self, now: Time, query: QueryId, bytes: Bytes) {
        self.note(now, Input::Document(query.number(), bytes.clone()));
        self.session.answer(now, query, Answer::Document(bytes));
    }

    pub(crate) fn referrers(&mut self, now: Time, query: QueryId, referrers: Vec<Descriptor>) {
        self.note(now, Input::Referrers(query.number(), referrers.clone()));
        self.session.answer(now, query, Answer::Referrers(referrers));
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.session.is_idle()
    }

    fn note(&mut self, now: Time, input: Input) {
        self.recording.steps.push(Step { now: now.since_epoch(), input });
    }
}

/// The configuration of every conversation.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.limits.max_attempts = 3;
    config.limits.chunk_bytes = 10;
    config.user_agent = Some(http::HeaderValue::from_static("recorder"));
    config
}

pub(crate) fn start(session: &mut Session, task: Task, reference: &Reference) -> OpId {
    let platform: Platform = "linux/arm64".parse().expect("a platform");
    match task {
        Task::Resolve => session.resolve(reference, Some(&platform)),
        Task::Walk => {
            let mut options = WalkOptions::default();
            options.blobs = true;
            session.walk(reference, options)
        }
        Task::Pull => {
            let mut options = PullOptions::default();
            options.referrers = true;
            session.pull(reference, options)
        }
        Task::Check => session.check(reference, None),
        Task::Upload => {
            let digest = Digest::of(Algorithm::Sha256, UPLOADED);
            let media_type = "application/octet-stream".parse().expect("a media type");
            let descriptor = Descriptor::new(media_type, digest, UPLOADED.len() as u64);
            session.upload(reference, &descriptor, Some(&"team/base".parse().expect("a repository")))
        }
        Task::UploadStream => session.upload_stream(reference, Algorithm::Sha256),
        Task::Push => {
            let (_, root) = Memory::sample();
            let mut options = PushOptions::default();
            options.referrers = true;
            session.push(&root, &DESTINATION.parse().expect("a reference"), options)
        }
        Task::Copy => {
            let to = DESTINATION.parse().expect("a reference");
            session.copy(reference, &to, PushOptions::default())
        }
        Task::Tags => session.tags(reference, None),
        Task::Referrers => {
            let (_, root) = Memory::sample();
            session.referrers(&reference.at(root.digest), None)
        }
    }
}

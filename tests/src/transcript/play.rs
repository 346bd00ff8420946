//! Plays transcripts to adapters: the servers are real ones, over sockets.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_LENGTH;
use oci_proto::header::Warning;
use oci_proto::server::Memory;
use oci_proto::{Algorithm, Event, FaultKind, MediaType, MirrorReport, Retry, StoreContent, is_loopback};
use oci_proto_common::{
    Settings, StreamOptions, TransferOptions, TreeSource as _, UploadOptions, UploadProgress,
};
use oci_proto_tokio::credentials::Store;
use serde_json::json;

use crate::adapter::{Adapter, Blob, Make};
use crate::internet::authority::Authority;
use crate::internet::{Internet, Request};
use crate::transcript::describe::{describe, describe_store};
use crate::transcript::parse::{Step, Transcript, parse_duration, parse_fault};
use crate::transcript::start::{Operation, Start, config};
use crate::wire::Reply;

/// The longest wait for anything that the transcript expects.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The adapters' idle timeout in transcripts with a silent server.
const IDLE: Duration = Duration::from_millis(1500);
/// Transcripts in which more time passes are not played.
const MAX_PLAYED_TIME: Duration = Duration::from_millis(100);

impl Transcript {
    /// Returns why the transcript cannot be played to a real client over a real network, if so.
    ///
    /// # Errors
    ///
    /// A line is invalid.
    pub fn core_only(&self) -> Result<Option<String>, String> {
        let mut time = Duration::ZERO;
        let bounded = self.steps.iter().any(|s| s.verb == "config" && s.rest.starts_with("in_flight"));
        let copies = self.steps.iter().any(|step| step.verb == "start" && step.rest.starts_with("copy "));
        let has_source = self.steps.iter().any(|step| step.verb == "source");
        let mut before = "";
        let mut asked = 0;
        for (index, step) in self.steps.iter().enumerate() {
            let reason = match step.verb.as_str() {
                // A driver polls its session after each start.
                "start" if bounded && before == "start" => Some("its operations start at the same moment"),
                "start" if step.rest.starts_with("pull ") => Some("a pull writes to a folder"),
                "start" if step.rest.starts_with("tag ") => Some("each client is tested with registries"),
                // An adapter does not read beyond the range of a request.
                "source" if copies => Some("the source of a copy is a download"),
                "source" if self.is_longer(&step.rest) => Some("the end of its source is not read"),
                "cancel" | "pause" | "resume" | "abandon" | "deadline" | "fail" | "lost" => {
                    Some("it steers a session")
                }
                "held" => Some("adapters hold no content of their own"),
                "stored" if step.rest.contains("fail ") => Some("storing in memory cannot fail"),
                "supply" | "list" if step.rest.contains(" fail ") => Some("reading from memory cannot fail"),
                "list" if !self.is_what_memory_lists(&step.rest)? => Some("memory has other referrers"),
                "login" if step.rest.starts_with("fail ") => {
                    Some("a credentials file does not fail like this")
                }
                "fault" => match parse_fault(&step.rest)?.kind() {
                    FaultKind::Connect | FaultKind::Reset | FaultKind::Timeout => None,
                    _ => Some("a server cannot cause this fault"),
                },
                "<" => {
                    let answer = self.answer(step)?;
                    // The client would find out that its source is wrong.
                    let is_early =
                        answer.sent < u64::MAX && (answer.status.is_success() || has_source || copies);
                    let early = is_early.then_some("a socket takes all of a small payload");
                    let from = answer.from.map(|_| "a proxy does not reveal the addresses of servers");
                    answer.drop.map(|_| "a driver is dropped").or(early).or(from)
                }
                "?" if step.rest.starts_with("read ") => {
                    asked = step.rest.trim_start_matches("read ").parse().map_err(|_| "? read MAX")?;
                    None
                }
                "read" if !step.rest.ends_with(" last") => {
                    let is_chunk = self.steps.get(index + 1).is_some_and(|next| next.verb == ">");
                    let is_short = is_chunk && self.read(step)?.len() < asked;
                    is_short.then_some("an adapter fills the chunks of a stream")
                }
                ">" => {
                    let url = step.rest.split_once("://").map_or("", |(_, rest)| rest);
                    let host = url.split('/').next().unwrap_or_default();
                    let host =
                        host.rsplit_once(':').filter(|_| !host.ends_with(']')).map_or(host, |(h, _)| h);
                    is_loopback(host).then_some("a test cannot choose its ports")
                }
                "time" => {
                    time += parse_duration(&step.rest)?;
                    (time > MAX_PLAYED_TIME).then_some("it takes too long")
                }
                _ => None,
            };
            before = &step.verb;
            if let Some(reason) = reason {
                return Ok(Some(format!("{reason} (line {})", step.number)));
            }
        }
        Ok(None)
    }

    /// Whether a source in memory has these referrers of a document: `NAME [REFERRER...]`.
    fn is_what_memory_lists(&self, rest: &str) -> Result<bool, String> {
        let mut names = rest.split_ascii_whitespace();
        let subject = self.described(names.next().unwrap_or_default())?;
        let listed: BTreeSet<_> =
            names.map(|name| Ok(self.described(name)?.digest)).collect::<Result<_, String>>()?;
        let found = self.memory().referrers(&subject).map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(|referrer| referrer.digest).collect::<BTreeSet<_>>() == listed)
    }

    /// Whether this content is longer than the blob that an upload declares.
    fn is_longer(&self, name: &str) -> bool {
        let declared = self.steps.iter().filter(|step| step.verb == "start");
        let sizes =
            declared.flat_map(|step| step.rest.split(' ')).filter_map(|word| word.strip_prefix("size="));
        let size = sizes.filter_map(|size| size.parse::<usize>().ok()).max();
        let content = self.contents.get(name.trim());
        content.zip(size).is_some_and(|(content, size)| content.len() > size)
    }

    /// Plays the transcript to an adapter, which must send the given requests and report the given outcome.
    ///
    /// Each operation runs on its own thread. Requests may arrive early; responses are sent in the
    /// transcript's order.
    ///
    /// # Errors
    ///
    /// A difference between the adapter and the transcript.
    pub fn play(&self, make: Make, authority: &Arc<Authority>) -> Result<(), String> {
        let internet = Internet::start(authority.clone());
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let auth_file = folder.path().join("config.json");
        let silent = self.steps.iter().any(falls_silent);
        let mut settings = Settings::default()
            .config(config(self)?)
            .credentials(Store::none().file(&auth_file))
            .on_retry(|retry| show(&Event::Retry(Retry::clone(retry))))
            .on_mirror(|report| show(&Event::Mirror(MirrorReport::clone(report))))
            .on_warning(|warning| show(&Event::Warning(Warning::clone(warning))))
            .proxy(Some(&internet.proxy()))
            .and_then(|settings| settings.add_root_certificates_pem(authority.pem().as_bytes()))
            .map_err(|error| error.to_string())?;
        if silent {
            settings = settings.idle_timeout(IDLE);
        }
        let mut play = Play {
            transcript: self,
            adapter: make(&settings).into(),
            internet,
            running: BTreeMap::new(),
            sinks: BTreeMap::new(),
            asked: Vec::new(),
            deferred: Vec::new(),
            stale: Vec::new(),
            requests: 0,
            over: Arc::default(),
            lenience: Lenience::default(),
        };
        for (index, step) in self.steps.iter().enumerate() {
            if let Some(login) = self.login_after(index) {
                std::fs::write(&auth_file, login?).map_err(|e| e.to_string())?;
            }
            let next = self.steps.get(index + 1);
            if step.verb == ">" && next.is_some_and(|next| next.verb == "refused" && next.label == step.label)
            {
                // The client ends the connection before the request is complete.
                play.requests += 1;
                continue;
            }
            play.step(step).map_err(|problem| format!("line {}: {problem}", step.number))?;
        }
        play.end().map_err(|problem| format!("at the end: {problem}"))
    }
}

impl Transcript {
    /// The credentials file for the question that follows a response.
    fn login_after(&self, index: usize) -> Option<Result<String, String>> {
        let rest = self.steps.get(index..)?;
        let (_, after) = rest.split_first().filter(|(answer, _)| answer.verb == "<")?;
        let question = after.iter().take_while(|step| step.verb != ">").find(|step| step.verb == "?")?;
        let login = after.iter().find(|step| step.verb == "login")?;
        Some(auth_json(question.rest.split(' ').next().unwrap_or_default(), &login.rest))
    }

    /// The bytes of a `read` step.
    fn read(&self, step: &Step) -> Result<Bytes, String> {
        match step.rest.strip_suffix(" last").unwrap_or(&step.rest) {
            "nothing" => Ok(Bytes::new()),
            range => self.range(range),
        }
    }

    /// All contents, under their digests of all algorithms that the transcript uses.
    fn memory(&self) -> Memory {
        let mut memory = Memory::new();
        let uses_sha512 = self.steps.iter().any(|step| step.rest.contains("sha512"));
        let more = uses_sha512.then_some(Algorithm::Sha512);
        for bytes in self.contents.values() {
            for algorithm in [Algorithm::Sha256].into_iter().chain(more) {
                memory.add_with(algorithm, MediaType::OCTET_STREAM, bytes.clone());
            }
        }
        memory
    }

    /// What an upload reads: a source that it is given, or the stream of its `read` steps.
    fn uploaded(&self, label: &str) -> Result<Vec<u8>, String> {
        let mut stream = Vec::new();
        let mut has_ended = true;
        for step in self.steps.iter().filter(|step| step.label == label) {
            match step.verb.as_str() {
                "source" => return self.range(&step.rest).map(Into::into),
                "read" => {
                    stream.extend_from_slice(&self.read(step)?);
                    has_ended = step.rest.ends_with(" last");
                }
                _ => {}
            }
        }
        if !has_ended {
            // An adapter hands over a chunk once it has the byte after it.
            stream.push(0);
        }
        Ok(stream)
    }
}

/// Whether the server falls silent and keeps its connection open.
fn falls_silent(step: &Step) -> bool {
    let is_timeout = |text: &str| parse_fault(text).is_ok_and(|fault| fault.kind() == FaultKind::Timeout);
    let cut = step.below.iter().filter_map(|line| line.strip_prefix("cut ")?.split_once(' '));
    step.verb == "fault" && is_timeout(&step.rest) || cut.into_iter().any(|(_, fault)| is_timeout(fault))
}

/// A transcript being played.
struct Play<'a> {
    transcript: &'a Transcript,
    adapter: Arc<dyn Adapter>,
    internet: Internet,
    running: BTreeMap<String, Running>,
    /// The bytes received by the sinks of operations that have ended.
    sinks: BTreeMap<String, Vec<u8>>,
    /// Requests that wait for their responses, by label.
    asked: Vec<(String, Request)>,
    /// Requests that are expected to be complete when they are answered.
    deferred: Vec<Step>,
    /// Aborted requests.
    stale: Vec<(String, Request)>,
    requests: u64,
    /// Whether the transcript has ended, and clients need no longer work in the background.
    over: Arc<AtomicBool>,
    lenience: Lenience,
}

impl Drop for Play<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// A running operation.
struct Running {
    operation: Operation,
    expected: Vec<String>,
    outcome: mpsc::Receiver<Outcome>,
}

/// The outcome of an operation as the adapter reports it.
struct Outcome {
    events: Vec<String>,
    sink: Vec<u8>,
}

impl Play<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        let Step { verb, label, rest, .. } = step;
        match verb.as_str() {
            "?" if rest.starts_with("store ") => {
                let running =
                    self.running.get_mut(label).ok_or(format!("operation [{label}] is not running"))?;
                running.expected.push(rest.clone());
            }
            // Not observable through an adapter. Credentials are written to the file before they are asked
            // for.
            "config" | "wait" | "?" | "login" | "stored" | "source" | "read" | "refused" | "supply"
            | "list" => {}
            "start" => {
                let start = Start::parse(rest)?;
                let (tell, outcome) = mpsc::channel();
                let (adapter, operation) = (self.adapter.clone(), start.operation);
                let over = self.over.clone();
                let memory = self.transcript.memory();
                let uploaded = match (operation, &start.descriptor) {
                    (Operation::Upload | Operation::UploadStream, descriptor) => {
                        let given = self.transcript.uploaded(label)?;
                        let digest = descriptor.as_ref().map(|descriptor| &descriptor.digest);
                        match digest.filter(|_| given.is_empty()) {
                            Some(digest) => self.transcript.content_of(digest)?,
                            None => given.into(),
                        }
                    }
                    _ => Bytes::new(),
                };
                thread::spawn(move || {
                    let _ = tell.send(run(&*adapter, start, uploaded, memory));
                    // An upload that failed is cancelled in the background.
                    adapter.work_until(&|| over.load(Ordering::SeqCst));
                });
                self.running.insert(label.clone(), Running { operation, expected: Vec::new(), outcome });
            }
            // The upload of a copy is complete after the response to its download.
            ">" if self.running.values().any(|running| running.operation == Operation::Copy)
                && step.below.iter().any(|line| line.starts_with("content ")) =>
            {
                let (method, url) = request_line(step)?;
                self.internet
                    .take_head(method, &url, TIMEOUT)
                    .ok_or_else(|| format!("no such request begins, but {:?}", self.internet.left()))?;
                self.deferred.push(step.clone());
            }
            ">" => self.take(step)?,
            "<" => {
                let answer = self.transcript.answer(step)?;
                let request = self.take_asked(label)?;
                let declared = answer.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
                if declared.is_some_and(|length: usize| length != answer.body.len()) {
                    self.lenience.framed.insert(request.url.clone());
                }
                let (cut, fault) = answer.cut.unzip();
                let rests = fault.as_ref().is_some_and(|fault| fault.kind() == FaultKind::Timeout);
                self.lenience.faults.extend(fault.map(|fault| fault.message().to_owned()));
                let (status, headers, body) = (answer.status, answer.headers, answer.body);
                let reply = Reply::Answer { status, headers, body, cut };
                if rests { request.reply_and_rest(reply) } else { request.reply(reply) }
            }
            "fault" => {
                let fault = parse_fault(rest)?;
                self.lenience.faults.push(fault.message().to_owned());
                let silent = fault.kind() == FaultKind::Timeout;
                self.take_asked(label)?.reply(if silent { Reply::Silence } else { Reply::Close });
            }
            "abort" if self.deferred.iter().any(|step| step.label == *label) => {
                // The connection ends before the request is complete.
                self.deferred.retain(|step| step.label != *label);
                self.requests += 1;
            }
            "abort" => {
                let request = self.take_asked(label)?;
                self.stale.push((label.clone(), request));
            }
            "=" => {
                let running =
                    self.running.get_mut(label).ok_or(format!("operation [{label}] is not running"))?;
                running.expected.push(rest.clone());
                if rest == "done" || rest.starts_with("failed ") {
                    self.join(label)?;
                }
            }
            "sink" => {
                let expected =
                    self.transcript.contents.get(rest).ok_or(format!("no content is named `{rest}`"))?;
                // A sink cannot be inspected while the adapter writes to it.
                let had = self.sinks.get(label).filter(|had| *had != expected);
                had.map_or(Ok(()), |had| Err(format!("the sink received {} bytes", had.len())))?;
            }
            "time" => thread::sleep(parse_duration(rest)?),
            other => return Err(format!("`{other}` is not a step")),
        }
        Ok(())
    }

    /// Takes the request that a step expects.
    fn take(&mut self, step: &Step) -> Result<(), String> {
        let (method, url) = request_line(step)?;
        let request = self.internet.take(method, &url, TIMEOUT);
        let request =
            request.ok_or_else(|| format!("no such request arrives, but {:?}", self.internet.left()))?;
        for line in &step.below {
            if let Some(range) = line.strip_prefix("content ") {
                let expected = if range == "none" { Bytes::new() } else { self.transcript.range(range)? };
                if request.body != expected {
                    return Err(format!("the request sends {} bytes of other content", request.body.len()));
                }
                continue;
            }
            // The proxy is at one address for all servers.
            if line.starts_with("reach ") {
                continue;
            }
            if let Some(payload) = line.strip_prefix("payload ") {
                if request.body != payload.as_bytes() {
                    return Err(format!("the payload is {}", String::from_utf8_lossy(&request.body)));
                }
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(format!("`{line}` is not a header"))?;
            let has = request.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
            let wanted = Some(value.trim()).filter(|value| *value != "(none)");
            if has != wanted {
                return Err(format!("the request's {name} is {has:?}"));
            }
        }
        self.requests += 1;
        self.asked.push((step.label.clone(), request));
        Ok(())
    }

    fn take_asked(&mut self, label: &str) -> Result<Request, String> {
        if !self.asked.iter().any(|(asked, _)| asked == label)
            && let Some(index) = self.deferred.iter().position(|step| step.label == label)
        {
            let step = self.deferred.remove(index);
            self.take(&step)?;
        }
        for asked in [&mut self.asked, &mut self.stale] {
            if let Some(index) = asked.iter().position(|(asked, _)| asked == label) {
                return Ok(asked.remove(index).1);
            }
        }
        Err(format!("no request [{label}] waits for a response"))
    }

    /// Waits for the end of an operation, and compares its outcome with the expected one.
    fn join(&mut self, label: &str) -> Result<(), String> {
        let Some(running) = self.running.remove(label) else { return Ok(()) };
        let Ok(outcome) = running.outcome.recv_timeout(TIMEOUT) else {
            return Err(format!(
                "operation [{label}] does not end; requests left: {:?}",
                self.internet.left()
            ));
        };
        let shown = running.expected.iter().filter(|event| shows(running.operation, event));
        let expected: Vec<String> = shown.flat_map(|event| entries(event)).collect();
        let agree = expected.len() == outcome.events.len()
            && expected.iter().zip(&outcome.events).all(|(said, shown)| self.lenience.agree(said, shown));
        if !agree {
            return Err(format!("[{label}] shows {:#?}, not {expected:#?}", outcome.events));
        }
        self.sinks.insert(label.to_owned(), outcome.sink);
        Ok(())
    }

    fn end(self) -> Result<(), String> {
        if let Some(label) = self.running.keys().next() {
            return Err(format!("operation [{label}] has not ended"));
        }
        let left = self.internet.left();
        if !left.is_empty() {
            return Err(format!("unexpected requests: {left:?}"));
        }
        let counted = self.adapter.requests();
        if counted != self.requests {
            return Err(format!("the adapter counts {counted} requests, but {} arrived", self.requests));
        }
        Ok(())
    }
}

/// Returns the method and the URL of an expected request.
fn request_line(step: &Step) -> Result<(&str, String), String> {
    let (method, url) = step.rest.split_once(' ').ok_or("> METHOD URL")?;
    // A client omits the default port (RFC 9110, section 4.2.3).
    let url = if url.starts_with("https:") { url.replacen(":443/", "/", 1) } else { url.to_owned() };
    Ok((method, url))
}

/// A credentials file with the entry of a `login` step.
fn auth_json(registry: &str, login: &str) -> Result<String, String> {
    let (word, rest) = login.split_once(' ').unwrap_or((login, ""));
    let entry = match word {
        "none" => return Ok("{}".to_owned()),
        "as" => {
            let (username, password) = rest.split_once(' ').ok_or("login as USER PASSWORD")?;
            json!({ "username": username, "password": password })
        }
        "identity" => json!({ "identitytoken": rest }),
        "bearer" => json!({ "registrytoken": rest }),
        other => return Err(format!("`{other}` is not a login")),
    };
    Ok(json!({ "auths": { registry: entry } }).to_string())
}

/// Whether an adapter reports an event of an operation.
fn shows(operation: Operation, event: &str) -> bool {
    match event.split(' ').next() {
        // A walk reports its root as the first node; a check returns it at the end.
        // A copy returns its root.
        Some("resolved") => {
            !matches!(operation, Operation::Walk | Operation::Check | Operation::Referrers | Operation::Copy)
        }
        // Other content is compared with the sink.
        Some("store") => operation == Operation::Manifest,
        _ => true,
    }
}

/// The events that an adapter reports for one of a session. Adapters report the entries of a list one by one.
fn entries(event: &str) -> Vec<String> {
    match event.split_once(' ') {
        Some((of @ ("tags" | "repositories" | "referrers"), entries)) => {
            entries.split(' ').map(|entry| format!("{of} {entry}")).collect()
        }
        _ => vec![event.to_owned()],
    }
}

thread_local! {
    /// Events reported by the operation on this thread. Hooks run on the thread of their operation.
    static SHOWN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn show(event: &Event) {
    SHOWN.with_borrow_mut(|shown| shown.push(describe(event)));
}

fn show_progress(progress: UploadProgress<'_>) {
    show(&match progress {
        UploadProgress::Acknowledged(digest, bytes) => Event::Acknowledged { digest: digest.cloned(), bytes },
        UploadProgress::Stored(descriptor, stored) => Event::Stored(descriptor.clone(), stored),
        UploadProgress::Skipped(descriptor) => Event::Skipped(descriptor.clone()),
        // Not an event of a session.
        _ => return,
    });
}

/// Runs an operation to its end.
fn run(adapter: &dyn Adapter, start: Start, uploaded: Bytes, memory: Memory) -> Outcome {
    let push = start.push_options();
    let Start { operation, reference, walk, size, descriptor, page_size, artifact_type, .. } = start;
    let show_left_out = |left_out| {
        if left_out > 0 {
            show(&Event::LeftOut(left_out));
        }
    };
    let mut sink = Vec::new();
    let result = match operation {
        Operation::Resolve => adapter
            .resolve(&reference, walk.platform.as_ref())
            .map(|descriptor| show(&Event::Resolved(descriptor))),
        Operation::Manifest => {
            adapter.manifest(&reference, walk.platform.as_ref()).map(|(descriptor, manifest)| {
                sink.extend_from_slice(manifest.bytes());
                show(&Event::Resolved(descriptor.clone()));
                let stored = describe_store(&descriptor, &StoreContent::Document(manifest));
                SHOWN.with_borrow_mut(|shown| shown.push(stored));
            })
        }
        Operation::Walk => adapter.each(&reference, walk, &mut |node| show(&Event::Node(node))),
        Operation::Check => adapter
            .check(&reference, walk.platform.as_ref(), &mut |finding| show(&Event::Finding(finding)))
            .map(|_| ()),
        // Left out: see `core_only`.
        Operation::Pull | Operation::Tag => Ok(()),
        Operation::Upload => {
            let mut options = UploadOptions::default().on_progress(show_progress);
            options.mount = start.mount;
            let descriptor = descriptor.expect("an upload has a descriptor");
            adapter.upload(&reference, &descriptor, Arc::new(uploaded), options).map(drop)
        }
        Operation::UploadStream => {
            let options = StreamOptions::default().algorithm(start.algorithm).on_progress(show_progress);
            adapter.upload_stream(&reference, &mut &*uploaded, options).map(drop)
        }
        Operation::Blob => {
            let of = match &descriptor {
                Some(descriptor) => Blob::Described(&reference, descriptor),
                None => Blob::Named(&reference, size),
            };
            adapter.blob_to(of, &mut sink).map(|_| ())
        }
        Operation::Push => {
            let options = TransferOptions::from(push).on_progress(show_progress);
            let root = descriptor.expect("a push has a root");
            adapter.push(&root, &reference, Arc::new(memory), options)
        }
        Operation::Copy => {
            let options = TransferOptions::from(push).on_progress(show_progress);
            let to = start.to.expect("a copy has a destination");
            adapter.copy(&reference, &to, options).map(drop)
        }
        Operation::Tags => {
            let show_tag = &mut |tag| show(&Event::Tags(vec![tag]));
            adapter.tags(&reference, page_size, show_tag).map(show_left_out)
        }
        Operation::Repositories => {
            let show_name = &mut |name| show(&Event::Repositories(vec![name]));
            adapter.repositories(reference.registry(), page_size, show_name).map(show_left_out)
        }
        Operation::Referrers => {
            let show_referrer = &mut |referrer| show(&Event::Referrers(vec![referrer]));
            adapter.referrers(&reference, artifact_type.as_ref(), show_referrer)
        }
        Operation::Delete => adapter.delete(&reference, false),
        Operation::DeleteBlob => adapter.delete(&reference, true),
        Operation::CheckAccess => {
            adapter.check_access(reference.registry()).map(|with_login| show(&Event::Accepted { with_login }))
        }
        Operation::Exists => adapter.exists(&reference, false).map(|found| show(&Event::Exists(found))),
        Operation::BlobExists => adapter.exists(&reference, true).map(|found| show(&Event::Exists(found))),
    };
    show(&match result {
        Ok(()) => Event::Done,
        Err(error) => Event::Failed(error),
    });
    Outcome { events: SHOWN.take(), sink }
}

/// Differences between messages of the core and those of an adapter's HTTP client.
#[derive(Default)]
struct Lenience {
    /// The messages of the transcript's faults.
    faults: Vec<String>,
    /// URLs whose responses have a wrong Content-Length. The HTTP client cuts such a body off, or waits for
    /// more, before the core sees it.
    framed: BTreeSet<String>,
}

impl Lenience {
    fn agree(&self, said: &str, shown: &str) -> bool {
        let of_fault = |words: &String| {
            let what = said.strip_suffix(words.as_str()).filter(|_| !words.is_empty())?;
            // A server behind a proxy cannot refuse a connection.
            Some(what.replace(": could not connect: ", ": the connection broke: "))
        };
        let of_frame = |url: &String| {
            let asked = format!("{} {url}: ", Method::GET);
            let (before, _) = said.split_once(&asked)?;
            Some(format!("{before}{asked}"))
        };
        let what = self.faults.iter().find_map(of_fault).or_else(|| self.framed.iter().find_map(of_frame));
        said == shown || what.is_some_and(|what| shown.starts_with(&what))
    }
}

//! The outputs of a session as text.

use std::fmt::{self, Write as _};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request};

use crate::error::Error;
use crate::error::texts::TextKind;
use crate::op::ask::StoreContent;
use crate::op::event::{Event, MirrorReport, Retry};
use crate::record::secrets::Secrets;
use crate::session::output::{Output, Question};
use crate::types::descriptor::Descriptor;
use crate::types::digest::{Algorithm, Digest};
use crate::types::id::OpId;
use crate::types::reference::name::Repository;
use crate::types::time::Time;
use crate::walker::node::{Found, Node};
use crate::wire::exchange::Exchange;
use crate::wire::exchange::reach::Reach;
use crate::wire::list::referrers::Referrer;
use crate::wire::percent;
use crate::wire::request::Payload;

impl Secrets {
    /// Returns an output as text, with names in place of secrets. The text is one line; a request has
    /// further lines, indented by two spaces. There is no final newline.
    ///
    /// Equal outputs have equal texts. For documents and other content, the text contains the length and
    /// the digest. Errors and findings do not quote responses, apart from the messages of servers.
    pub fn describe(&mut self, output: &Output) -> String {
        match output {
            Output::Send(exchange) => self.exchange(exchange),
            Output::Ask(query, question) => format!("ask {} {}", query.number(), question_text(question)),
            Output::Abort(exchange) => format!("abort {}", exchange.number()),
            Output::Event(op, event) => format!("event of {}: {}", operation(Some(*op)), self.event(event)),
            Output::Wait(None) => "wait".to_owned(),
            Output::Wait(Some(until)) => format!("wait until {}", time(*until)),
        }
    }

    fn exchange(&mut self, exchange: &Exchange) -> String {
        let request = exchange.request();
        let (method, uri) = (request.method(), request.uri());
        let (scheme, authority) = (uri.scheme_str(), uri.authority());
        let mut text = format!(
            "send {} for {}: {method} {}://{}{}",
            exchange.id().number(),
            operation(exchange.op()),
            scheme.unwrap_or_default(),
            authority.map_or("", |authority| authority.as_str()),
            if exchange.has_own_url { uri.path() } else { self.shown_path(uri.path()) },
        );
        if let Some(query) = uri.query() {
            let query = if exchange.has_own_url {
                query.to_owned()
            } else {
                self.query(query, exchange.awaiting.kind.url_kind())
            };
            push(&mut text, format_args!("?{query}"));
        }
        let form = is_form(request).then(|| self.form(request));
        for (name, value) in request.headers() {
            // A name in the form has a different length than its secret.
            let shown = match &form {
                Some(form) if name == CONTENT_LENGTH => form.len().to_string(),
                _ => self.header(name, value),
            };
            push(&mut text, format_args!("\n  {name}: {}", line(&shown)));
        }
        match request.body() {
            Payload::Empty => {}
            Payload::Bytes(bytes) => match form {
                Some(form) => push(&mut text, format_args!("\n  form: {}", line(&form))),
                None => push(&mut text, format_args!("\n  payload: {}", content(bytes))),
            },
            Payload::Source(source) => {
                let (op, range) = (operation(Some(source.op)), &source.range);
                let (digest, size) = (&source.digest, source.size);
                push(
                    &mut text,
                    format_args!(
                        "\n  source: {op}, {digest}, {}..{} of {size} bytes",
                        range.start, range.end
                    ),
                );
            }
        }
        if let Some(sink) = exchange.sink() {
            let size = sink.size.map_or_else(|| "unknown size".to_owned(), |size| format!("{size} bytes"));
            let (op, digest, offset) = (operation(Some(sink.op)), &sink.digest, sink.offset);
            push(&mut text, format_args!("\n  sink: {op}, {digest}, {size}, from {offset}"));
        }
        let reach = match exchange.reach() {
            Reach::Anywhere => "anywhere",
            Reach::Public => "public",
            Reach::ThisMachine => "this machine",
        };
        push(&mut text, format_args!("\n  reach: {reach}"));
        text
    }

    fn header(&mut self, name: &HeaderName, value: &HeaderValue) -> String {
        let text = String::from_utf8_lossy(value.as_bytes());
        match text.split_once(' ') {
            Some((scheme, shown)) if *name == AUTHORIZATION => {
                format!("{scheme} {}", self.authorization(scheme, shown))
            }
            None if *name == AUTHORIZATION => self.name(&text),
            // Those that are configured.
            _ if value.is_sensitive() => self.name(&text),
            _ => text.into_owned(),
        }
    }

    fn authorization(&mut self, scheme: &str, shown: &str) -> String {
        let login = STANDARD.decode(shown).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match login.as_deref().and_then(|login| login.split_once(':')) {
            Some((username, password)) if scheme == "Basic" => {
                let name = self.name(password);
                self.add_basic(username, password, &name);
                format!("{username}:{name}")
            }
            _ => self.name(shown),
        }
    }

    fn form(&mut self, request: &Request<Payload>) -> String {
        let Payload::Bytes(form) = request.body() else { return String::new() };
        let form = String::from_utf8_lossy(form);
        let pairs = form.split('&').map(|pair| match pair.strip_prefix("refresh_token=") {
            Some(token) => {
                let decoded = percent::decode(token);
                format!("refresh_token={}", self.name(decoded.as_deref().unwrap_or(token)))
            }
            None => pair.to_owned(),
        });
        pairs.collect::<Vec<_>>().join("&")
    }

    fn event(&mut self, event: &Event) -> String {
        let text = match event {
            Event::Resolved(descriptor) => format!("resolved {}", described(descriptor)),
            Event::Node(node) => node_text(node),
            Event::Skipped(descriptor) => format!("skipped {}", described(descriptor)),
            Event::Stored(descriptor, stored) => format!("stored {}, {stored:?}", described(descriptor)),
            Event::Acknowledged { digest, bytes } => {
                let digest = digest.as_ref().map_or_else(|| "the stream".to_owned(), ToString::to_string);
                format!("acknowledged {bytes} bytes of {digest}")
            }
            Event::Finding(finding) => {
                let known = finding.digest.as_ref().filter(|digest| digest.algorithm().is_some());
                let digest = known.map(|digest| format!(" {digest}")).unwrap_or_default();
                format!("finding {}{digest}", finding.problem)
            }
            Event::Tags(tags) => format!("tags{}", words(tags)),
            Event::Repositories(repositories) => format!("repositories{}", words(repositories)),
            Event::Referrers(referrers) => referrers_text(referrers),
            Event::LeftOut(count) => format!("left out {count}"),
            Event::Exists(exists) => format!("exists: {exists}"),
            Event::Accepted { with_login } => format!("accepted, with a login: {with_login}"),
            Event::Retry(Retry { error, delay, failed }) => {
                format!("retry in {} after {failed} failed: {}", seconds(*delay), self.error(error))
            }
            Event::Mirror(MirrorReport { registry, repository, error }) => match error {
                None => format!("supplied by the mirror {registry}/{repository}"),
                Some(error) => format!("failed by the mirror {registry}/{repository}: {}", self.error(error)),
            },
            Event::Warning(warning) => format!("warning: {}", self.reported(warning.text())),
            Event::Done => "done".to_owned(),
            Event::Failed(error) => format!("failed: {}", self.error(error)),
        };
        line(&text)
    }

    /// Returns an error without excerpts of responses, in which a replay may redact other words.
    fn error(&self, error: &Error) -> Error {
        error.clone().map_texts(|kind, text| match kind {
            TextKind::Message => self.reported(text),
            TextKind::Excerpt if text.len() >= 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
                text.to_owned()
            }
            TextKind::Excerpt => "...".to_owned(),
        })
    }
}

fn question_text(question: &Question) -> String {
    match question {
        Question::Credentials(query) => {
            let of = query.repository.as_ref().map_or("the registry", Repository::as_str);
            let after = if query.is_refused { ", after a refusal" } else { "" };
            format!("for credentials: {}, {of}{after}", query.registry.as_str())
        }
        Question::Held { op, descriptor } => {
            format!("for {}: held {}", operation(Some(*op)), described(descriptor))
        }
        Question::Store { op, descriptor, content: at } => {
            let at = match at {
                StoreContent::Document(manifest) => format!("document of {}", content(manifest.bytes())),
                StoreContent::Bytes(bytes) => content(bytes),
                StoreContent::Sink => "in the sink".to_owned(),
            };
            format!("for {}: store {}, {at}", operation(Some(*op)), described(descriptor))
        }
        Question::Document { op, descriptor } => {
            format!("for {}: document {}", operation(Some(*op)), described(descriptor))
        }
        Question::Referrers { op, subject } => {
            format!("for {}: referrers of {}", operation(Some(*op)), described(subject))
        }
        Question::Read { op, max } => format!("for {}: read {max} bytes", operation(Some(*op))),
    }
}

fn node_text(node: &Node) -> String {
    let found = match &node.found {
        Found::Manifest(manifest) => format!("manifest of {}", content(manifest.bytes())),
        Found::Leaf => "leaf".to_owned(),
        Found::Repeated => "repeated".to_owned(),
        Found::Missing => "missing".to_owned(),
    };
    format!("node {} {} {}, {found}", node.depth, node.kind, described(&node.descriptor))
}

fn words(names: &[impl fmt::Display]) -> String {
    let mut text = String::new();
    for name in names {
        push(&mut text, format_args!(" {name}"));
    }
    text
}

fn referrers_text(referrers: &[Referrer]) -> String {
    let one = |Referrer { descriptor, annotations }: &Referrer| {
        format!("{}, annotations {annotations:?}", described(descriptor))
    };
    format!("referrers: {}", referrers.iter().map(one).collect::<Vec<_>>().join("; "))
}

fn described(descriptor: &Descriptor) -> String {
    let Descriptor { media_type, digest, size, platform, artifact_type, data } = descriptor;
    let mut text = format!("{media_type} {digest}, {size} bytes");
    if let Some(platform) = platform {
        push(&mut text, format_args!(", {platform}"));
    }
    if let Some(artifact_type) = artifact_type {
        push(&mut text, format_args!(", artifact {artifact_type}"));
    }
    if let Some(data) = data {
        push(&mut text, format_args!(", data of {}", content(data)));
    }
    line(&text)
}

fn content(bytes: &[u8]) -> String {
    format!("{} bytes, {}", bytes.len(), Digest::of(Algorithm::Sha256, bytes))
}

fn operation(op: Option<OpId>) -> String {
    op.map_or_else(|| "all".to_owned(), |op| format!("operation {}", op.number()))
}

fn time(at: Time) -> String {
    seconds(at.since_epoch())
}

pub(super) fn seconds(duration: Duration) -> String {
    format!("{}.{:09} s", duration.as_secs(), duration.subsec_nanos())
}

fn is_form(request: &Request<Payload>) -> bool {
    let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers().get(CONTENT_TYPE) == Some(&form_type)
}

/// Returns the text as one line, with control characters escaped.
fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

fn push(text: &mut String, more: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(more);
}

//! Parses transcripts: lines, names in braces, responses.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use oci_proto::{Algorithm, Credentials, Descriptor, Digest, Fault, FaultKind, MediaType, Rest};

/// A line with the lines indented below it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Step {
    /// The line number, for messages.
    pub number: usize,
    /// The first word.
    pub verb: String,
    /// The label in brackets, or an empty string.
    pub label: String,
    /// The rest of the line.
    pub rest: String,
    /// The lines indented below.
    pub below: Vec<String>,
}

/// A parsed transcript.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Transcript {
    /// Contents that braces and bodies can name.
    pub contents: BTreeMap<String, Bytes>,
    /// The media types of the documents.
    pub types: BTreeMap<String, MediaType>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

impl Transcript {
    /// Parses a transcript.
    ///
    /// # Errors
    ///
    /// A line is invalid; the message has its number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut transcript = Self::default();
        let mut raw: Vec<Step> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            if let Some(below) = line.strip_prefix("  ") {
                raw.last_mut()
                    .ok_or(format!("line {number}: no line above it"))?
                    .below
                    .push(below.to_owned());
            } else if !line.trim().is_empty() && !line.starts_with('#') {
                let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
                let (label, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                    Some((label, rest)) => (label.to_owned(), rest.trim()),
                    None => (String::new(), rest),
                };
                let rest = rest.to_owned();
                raw.push(Step { number, verb: verb.to_owned(), label, rest, below: Vec::new() });
            }
        }
        for mut step in raw {
            step.rest = transcript.expand(&step.rest).map_err(|e| format!("line {}: {e}", step.number))?;
            for line in &mut step.below {
                *line = transcript.expand(line).map_err(|e| format!("line {}: {e}", step.number))?;
            }
            match step.verb.as_str() {
                "document" => {
                    let (name, media_type) = step.rest.split_once(' ').unwrap_or((&step.rest, ""));
                    let media_type = media_type.parse().map_err(|e| format!("line {}: {e}", step.number))?;
                    transcript.types.insert(name.to_owned(), media_type);
                    transcript.contents.insert(name.to_owned(), Bytes::from(step.below.join("\n")));
                }
                "blob" => {
                    let mut words = step.rest.splitn(4, ' ');
                    let (Some(name), Some(count), Some("x"), Some(text)) =
                        (words.next(), words.next(), words.next(), words.next())
                    else {
                        return Err(format!("line {}: blob NAME COUNT x TEXT", step.number));
                    };
                    let count = count.parse().map_err(|e| format!("line {}: {e}", step.number))?;
                    transcript.contents.insert(name.to_owned(), Bytes::from(text.repeat(count)));
                }
                _ => transcript.steps.push(step),
            }
        }
        Ok(transcript)
    }

    /// Replaces `{NAME}`, `{NAME.size}` and `{NAME.sha512}`. Braces without a known name are kept.
    fn expand(&self, text: &str) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            expanded.push_str(before);
            let named = after.split_once('}').and_then(|(key, tail)| {
                let (name, part) = key.split_once('.').unwrap_or((key, "sha256"));
                self.contents.get(name).map(|bytes| (bytes, part, tail))
            });
            let Some((bytes, part, tail)) = named else {
                expanded.push('{');
                rest = after;
                continue;
            };
            match part {
                "sha256" => _ = write!(expanded, "{}", Digest::of(Algorithm::Sha256, bytes)),
                "sha384" => _ = write!(expanded, "{}", Digest::of(Algorithm::Sha384, bytes)),
                "sha512" => _ = write!(expanded, "{}", Digest::of(Algorithm::Sha512, bytes)),
                "fallback" => {
                    let digest = Digest::of(Algorithm::Sha256, bytes).to_string();
                    expanded.push_str(&digest.replace(':', "-"));
                }
                "size" => _ = write!(expanded, "{}", bytes.len()),
                other => return Err(format!("`{other}` is not a property of a document")),
            }
            rest = tail;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    /// The bytes that `NAME` or `NAME A-B` describes. Both ends of the range are inclusive.
    ///
    /// # Errors
    ///
    /// There is no such content.
    pub fn range(&self, text: &str) -> Result<Bytes, String> {
        let (name, range) = text.split_once(' ').unwrap_or((text, ""));
        let content = self.contents.get(name).ok_or(format!("no content is named `{name}`"))?;
        if range.is_empty() {
            return Ok(content.clone());
        }
        let parse = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is not a position"));
        let (first, last) = range.split_once('-').ok_or(format!("`{range}` is not a range"))?;
        slice(content, parse(first)?, parse(last)? + 1)
    }

    /// The descriptor of a document.
    ///
    /// # Errors
    ///
    /// No document has that name.
    pub fn described(&self, name: &str) -> Result<Descriptor, String> {
        let unknown = || format!("no document is named `{name}`");
        let (bytes, media_type) = self.contents.get(name).zip(self.types.get(name)).ok_or_else(unknown)?;
        let digest = Digest::of(Algorithm::Sha256, bytes);
        Ok(Descriptor::new(media_type.clone(), digest, bytes.len() as u64))
    }

    /// The content with a digest, of any algorithm.
    ///
    /// # Errors
    ///
    /// There is no such content.
    pub fn content_of(&self, digest: &Digest) -> Result<Bytes, String> {
        let algorithm = digest.algorithm().ok_or("the digest has an unknown algorithm")?;
        let mut contents = self.contents.values();
        let found = contents.find(|bytes| Digest::of(algorithm, bytes) == *digest);
        found.cloned().ok_or(format!("no content has the digest {digest}"))
    }

    /// The response that a `<` step describes.
    ///
    /// # Errors
    ///
    /// A line is invalid.
    pub fn answer(&self, step: &Step) -> Result<Answer, String> {
        let status = step.rest.parse().map_err(|_| format!("`{}` is not a status", step.rest))?;
        let mut answer = Answer {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            cut: None,
            drop: None,
            rest: None,
            sent: u64::MAX,
            from: None,
        };
        for line in &step.below {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "body" => {
                    answer.body =
                        self.contents.get(rest).ok_or(format!("no content is named `{rest}`"))?.clone();
                }
                "text" => answer.body = Bytes::from(rest.to_owned()),
                "cut" => {
                    let (at, fault) = rest.split_once(' ').ok_or("cut N KIND MESSAGE")?;
                    answer.cut = Some((at.parse().map_err(|_| "cut N KIND MESSAGE")?, parse_fault(fault)?));
                }
                "sent" => answer.sent = parse_sent(&step.below, u64::MAX)?,
                "rest" => answer.rest = Some(parse_rest(rest)?),
                "from" => answer.from = Some(rest.parse().map_err(|_| "from ADDRESS")?),
                "drop" => answer.drop = Some(rest.parse().map_err(|_| "drop N")?),
                _ => {
                    let (name, value) = line.split_once(':').ok_or(format!("`{line}` is not a header"))?;
                    let name: HeaderName =
                        name.parse().map_err(|_| format!("`{name}` is not a header name"))?;
                    let value = HeaderValue::from_str(value.trim())
                        .map_err(|_| format!("`{value}` is not a header value"))?;
                    answer.headers.append(name, value);
                }
            }
        }
        Ok(answer)
    }
}

/// A server's response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers, unchanged.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The number of bytes after which the body breaks off, and the fault.
    pub cut: Option<(usize, Fault)>,
    /// The number of bytes of the body after which the driver is dropped.
    pub drop: Option<usize>,
    /// The session's expected instruction for the rest of the body.
    pub rest: Option<Rest>,
    /// The number of bytes of the request's payload that are sent before the response.
    pub sent: u64,
    /// The address of the server, if it is known.
    pub from: Option<IpAddr>,
}

impl Answer {
    /// A complete response.
    pub fn new(status: StatusCode, headers: HeaderMap, body: Bytes) -> Self {
        Self { status, headers, body, cut: None, drop: None, rest: None, sent: u64::MAX, from: None }
    }
}

fn parse_rest(text: &str) -> Result<Rest, String> {
    match text.split_once(' ').unwrap_or((text, "")) {
        ("wanted", "") => Ok(Rest::Wanted),
        ("drain", bytes) => bytes.parse().map(Rest::Drain).map_err(|_| "rest drain N".to_owned()),
        ("close", "") => Ok(Rest::Close),
        _ => Err(format!("`{text}` is not `wanted`, `drain N` or `close`")),
    }
}

/// The number of bytes of a payload that are sent before its step, by the line `sent N` or `sent all`.
pub(super) fn parse_sent(below: &[String], default: u64) -> Result<u64, String> {
    match below.iter().find_map(|line| line.strip_prefix("sent ")) {
        None => Ok(default),
        Some("all") => Ok(u64::MAX),
        Some(count) => count.parse().map_err(|_| "sent N".to_owned()),
    }
}

/// A range of some content, up to, but not including, `end`.
pub(super) fn slice(content: &Bytes, start: u64, end: u64) -> Result<Bytes, String> {
    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX);
    if start > end || at(end) > content.len() {
        return Err(format!("{start}..{end} is not within the content's {} bytes", content.len()));
    }
    Ok(content.slice(at(start)..at(end)))
}

pub(super) fn parse_fault(text: &str) -> Result<Fault, String> {
    let (kind, message) = text.split_once(' ').unwrap_or((text, ""));
    let kind = FaultKind::named(kind).ok_or_else(|| format!("`{kind}` is not a kind of fault"))?;
    Ok(Fault::new(kind, message))
}

/// Parses a duration: a whole number followed by `ms` or `s`.
///
/// # Errors
///
/// The text is not a duration.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration");
    if let Some(millis) = text.strip_suffix("ms") {
        return Ok(Duration::from_millis(millis.parse().map_err(|_| wrong())?));
    }
    Ok(Duration::from_secs(text.strip_suffix('s').ok_or_else(wrong)?.parse().map_err(|_| wrong())?))
}

/// Parses a `login` step.
pub(super) fn parse_login(text: &str) -> Result<Result<Option<Credentials>, Fault>, String> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    Ok(match word {
        "none" => Ok(None),
        "as" => {
            let (user, password) = rest.split_once(' ').ok_or("login as USER PASSWORD")?;
            Ok(Some(Credentials::login(user, password).map_err(|e| e.to_string())?))
        }
        "identity" => Ok(Some(Credentials::Identity(rest.into()))),
        "bearer" => Ok(Some(Credentials::Bearer(rest.into()))),
        "fail" => Err(Fault::new(FaultKind::Credentials, rest)),
        other => return Err(format!("`{other}` is not a login")),
    })
}

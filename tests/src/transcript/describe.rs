//! Events and questions in the notation of transcripts.

use std::fmt::Write as _;

use oci_proto::{Descriptor, Event, Found, MirrorReport, Node, Question, Reach, Referrer, StoreContent};

/// An event in the notation of transcripts.
pub fn describe(event: &Event) -> String {
    match event {
        Event::Resolved(d) => format!("resolved {} {} {}", d.media_type, d.digest, d.size),
        Event::Node(node) => describe_node(node),
        Event::Retry(retry) => format!("retry {} after {}", retry.failed, retry.error),
        Event::Mirror(MirrorReport { registry, repository, error, .. }) => match error {
            None => format!("mirror {registry}/{repository}"),
            Some(error) => format!("mirror {registry}/{repository} failed {error}"),
        },
        Event::Warning(warning) => format!("warning {}", warning.text()),
        Event::Skipped(d) => format!("skipped {}", d.digest),
        Event::Stored(d, stored) => {
            format!(
                "stored {} {} {} {}",
                d.media_type,
                d.digest,
                d.size,
                format!("{stored:?}").to_lowercase()
            )
        }
        Event::Acknowledged { bytes, .. } => format!("acknowledged {bytes}"),
        Event::Finding(finding) => format!("finding {} {}", finding.problem, finding.detail),
        Event::Tags(tags) => format!("tags{}", words(tags)),
        Event::Repositories(repositories) => format!("repositories{}", words(repositories)),
        Event::Referrers(referrers) => format!("referrers{}", words(referrers.iter().map(describe_referrer))),
        Event::LeftOut(count) => format!("left out {count}"),
        Event::Exists(exists) => format!("exists {exists}"),
        Event::Accepted { with_login } => {
            format!("accepted {}", if *with_login { "login" } else { "anyone" })
        }
        Event::Done => "done".to_owned(),
        Event::Failed(error) => format!("failed {error}"),
        other => format!("{other:?}"),
    }
}

/// A referrer in the notation of transcripts.
fn describe_referrer(referrer: &Referrer) -> String {
    let Descriptor { digest, artifact_type, .. } = &referrer.descriptor;
    match artifact_type {
        Some(artifact_type) => format!("{digest}={artifact_type}"),
        None => digest.to_string(),
    }
}

fn words(names: impl IntoIterator<Item: ToString>) -> String {
    names.into_iter().map(|name| " ".to_owned() + &name.to_string()).collect()
}

/// A question in the notation of transcripts.
pub fn describe_question(question: &Question) -> String {
    match question {
        Question::Credentials(asked) => {
            let of = asked.repository.as_ref().map(|repository| format!(" {repository}")).unwrap_or_default();
            let after = if asked.is_refused { " after a refusal" } else { "" };
            format!("{}{of}{after}", asked.registry)
        }
        Question::Held { descriptor, .. } => format!("wanted {}", descriptor.digest),
        Question::Store { descriptor, content, .. } => describe_store(descriptor, content),
        Question::Document { descriptor, .. } => format!("document {}", descriptor.digest),
        Question::Referrers { subject, .. } => format!("referrers {}", subject.digest),
        Question::Read { max, .. } => format!("read {max}"),
    }
}

/// A question to store content in the notation of transcripts.
pub fn describe_store(descriptor: &Descriptor, content: &StoreContent) -> String {
    let Descriptor { media_type, digest, size, .. } = descriptor;
    let of = match content {
        StoreContent::Document(manifest) => {
            format!("{} as {}", manifest.bytes().len(), manifest.kind())
        }
        StoreContent::Bytes(bytes) if bytes.is_empty() => "0 as data".to_owned(),
        StoreContent::Bytes(bytes) => format!("{} as data {}", bytes.len(), String::from_utf8_lossy(bytes)),
        StoreContent::Sink => format!("{size} as sink"),
    };
    format!("store {media_type} {digest} {of}")
}

/// A reach in the notation of transcripts.
pub(super) fn describe_reach(reach: Reach) -> &'static str {
    match reach {
        Reach::Anywhere => "anywhere",
        Reach::Public => "public",
        Reach::ThisMachine => "this machine",
    }
}

/// A node in the notation of transcripts.
pub fn describe_node(node: &Node) -> String {
    let Node { depth, descriptor, kind, found, .. } = node;
    let mut text = format!("node {depth} {kind} {} {}", descriptor.digest, descriptor.size);
    if let Some(platform) = &descriptor.platform {
        _ = write!(text, " platform={platform}");
    }
    if let Some(artifact_type) = node.artifact_type() {
        _ = write!(text, " artifact={artifact_type}");
    }
    match found {
        Found::Leaf => text.push_str(" leaf"),
        Found::Repeated => text.push_str(" repeated"),
        Found::Missing => text.push_str(" missing"),
        _ => {}
    }
    text
}

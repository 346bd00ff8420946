//! Events as transcripts write them.

use std::fmt::Write as _;

use oci_proto::{Event, Found, Node};

/// An event as transcripts write it.
pub fn describe(event: &Event) -> String {
    match event {
        Event::Resolved(d) => format!("resolved {} {} {}", d.media_type, d.digest, d.size),
        Event::Manifest(d, manifest) => {
            format!(
                "manifest {} {} {} as {}",
                d.media_type,
                d.digest,
                manifest.bytes().len(),
                manifest.kind()
            )
        }
        Event::Node(node) => describe_node(node),
        Event::Data(bytes) => format!("data {}", String::from_utf8_lossy(bytes)),
        Event::Retry(retry) => format!("retry {} after {}", retry.failed, retry.error),
        Event::Warning(warning) => format!("warning {}", warning.text()),
        Event::Wanted(d) => format!("wanted {}", d.digest),
        Event::Verified(digest) => format!("verified {digest}"),
        Event::Store(d, bytes) => format!("store {} {}", d.digest, bytes.len()),
        Event::Skipped(d) => format!("skipped {}", d.digest),
        Event::Finding(finding) => format!("finding {} {}", finding.problem, finding.detail),
        Event::Done => "done".to_owned(),
        Event::Failed(error) => format!("failed {error}"),
        other => format!("{other:?}"),
    }
}

/// A node as transcripts write it.
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

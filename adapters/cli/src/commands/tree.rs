//! `ocip tree`.

use std::io::Write;

use indicatif::DecimalBytes;
use oci_proto::{Algorithm, Digest, Found, Kind, MediaType, Node, WalkOptions};
use serde::Serialize;

use crate::args::{CommonArgs, TreeArgs};
use crate::content_source::ContentSource;
use crate::output::{Failure, count};

pub(crate) fn run(
    command: &TreeArgs,
    common: &CommonArgs,
    source: &ContentSource<'_>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut options = WalkOptions::default();
    options.blobs = command.blobs;
    options.strict = command.strict;
    options.platform.clone_from(&command.asked.platform);

    let mut drawing = Drawing::new(command.blobs);
    let mut totals = Totals::default();
    for node in source.walk(options)? {
        let node = node?;
        if command.json {
            writeln!(out, "{}", json(&node)?)?;
        } else {
            writeln!(out, "{}", drawing.line(&node))?;
        }
        totals.add(&node);
    }
    common.note(format_args!("{}; {}", totals.text(), source.spent()));
    Ok(())
}

/// A node as `--json` prints it.
pub(super) fn json(node: &Node) -> Result<String, Failure> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Line<'a> {
        depth: u32,
        media_type: &'a str,
        digest: String,
        size: u64,
        kind: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        platform: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        artifact_type: Option<&'a str>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        repeated: bool,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        missing: bool,
    }
    let descriptor = &node.descriptor;
    let line = Line {
        depth: node.depth,
        media_type: descriptor.media_type.as_str(),
        digest: descriptor.digest.to_string(),
        size: descriptor.size,
        kind: node.kind.as_str(),
        platform: descriptor.platform.as_ref().map(ToString::to_string),
        artifact_type: node.artifact_type().map(MediaType::as_str),
        repeated: matches!(node.found, Found::Repeated),
        missing: matches!(node.found, Found::Missing),
    };
    serde_json::to_string(&line).map_err(Failure::failed)
}

/// Draws a tree line by line, each as soon as its node is known.
///
/// The parent's document arrives first, and shows whether a node is the last child.
pub(super) struct Drawing {
    blobs: bool,
    /// The number of children not yet drawn, for each open level.
    remaining: Vec<usize>,
}

impl Drawing {
    pub(super) fn new(blobs: bool) -> Self {
        Self { blobs, remaining: Vec::new() }
    }

    pub(super) fn line(&mut self, node: &Node) -> String {
        let depth = usize::try_from(node.depth).unwrap_or(usize::MAX);
        self.remaining.truncate(depth);
        let mut branch = String::new();
        if let Some((parent, above)) = self.remaining.split_last_mut() {
            for left in above {
                branch.push_str(if *left > 0 { "│  " } else { "   " });
            }
            *parent = parent.saturating_sub(1);
            branch.push_str(if *parent > 0 { "├─ " } else { "└─ " });
        }
        branch.push_str(node.kind.as_str());
        self.remaining.push(self.children(node));

        let descriptor = &node.descriptor;
        let size = DecimalBytes(descriptor.size).to_string();
        let mut line = format!("{branch:<14}  {:<12}  {size:>9}", short(&descriptor.digest));
        if let Some(platform) = &descriptor.platform {
            line.push_str("  ");
            line.push_str(&platform.to_string());
        }
        let shown_type = match (&node.found, node.artifact_type(), node.kind) {
            // The first occurrence of a repeated node shows its type.
            (Found::Repeated, ..) | (_, None, Kind::Index | Kind::Image) => None,
            (_, None, Kind::Other) => Some(&descriptor.media_type),
            (_, artifact_type, _) => artifact_type,
        };
        if let Some(name) = shown_type.map(MediaType::as_str) {
            line.push_str("  ");
            line.push_str(name.strip_prefix("application/").unwrap_or(name));
        }
        match node.found {
            Found::Repeated => line.push_str("  (repeated)"),
            Found::Missing => line.push_str("  (missing)"),
            _ => {}
        }
        line
    }

    fn children(&self, node: &Node) -> usize {
        match &node.found {
            Found::Manifest(manifest) if node.kind == Kind::Index || self.blobs => {
                manifest.children().count()
            }
            _ => 0,
        }
    }
}

/// Enough of a digest to recognize it by eye.
fn short(digest: &Digest) -> String {
    let encoded: String = digest.encoded().chars().take(12).collect();
    match digest.algorithm() {
        Some(Algorithm::Sha256) => encoded,
        _ => format!("{}:{encoded}", digest.algorithm_name()),
    }
}

/// The totals of a walk.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) nodes: u64,
    manifests: u64,
    bytes: u64,
    missing: u64,
}

impl Totals {
    pub(super) fn add(&mut self, node: &Node) {
        self.nodes += 1;
        match &node.found {
            Found::Manifest(_) => {
                self.manifests += 1;
                self.bytes = self.bytes.saturating_add(node.descriptor.size);
            }
            Found::Missing => self.missing += 1,
            _ => {}
        }
    }

    fn text(&self) -> String {
        let missing = if self.missing == 0 { String::new() } else { format!(", {} missing", self.missing) };
        let read = format!("{} read, {}", count(self.manifests, "manifest"), DecimalBytes(self.bytes));
        format!("{}{missing}; {read}", count(self.nodes, "node"))
    }
}

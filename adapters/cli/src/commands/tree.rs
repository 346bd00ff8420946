//! `ocip tree`.

use std::io::{self, IsTerminal as _, Write};
use std::vec;

use indicatif::DecimalBytes;
use oci_proto::{Algorithm, Digest, Found, Kind, MediaType, Node, Part, WalkOptions};
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

    let shortened = io::stdout().is_terminal() && !command.full;
    let mut path = Path::new(command.blobs);
    let mut totals = Totals::default();
    for node in source.walk(options)? {
        let node = node?;
        path.enter(&node);
        if command.format.json {
            writeln!(out, "{}", json(&node, path.kind())?)?;
        } else {
            writeln!(out, "{}", line(&node, &path, shortened))?;
        }
        totals.add(&node);
    }
    common.note(format_args!("{}; {}", totals.text(), source.spent()));
    Ok(())
}

/// A node as `--json` prints it.
pub(super) fn json(node: &Node, kind: &str) -> Result<String, Failure> {
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
        kind,
        platform: descriptor.platform.as_ref().map(ToString::to_string),
        artifact_type: node.artifact_type().map(MediaType::as_str),
        repeated: matches!(node.found, Found::Repeated),
        missing: matches!(node.found, Found::Missing),
    };
    serde_json::to_string(&line).map_err(Failure::failed)
}

/// A node as a line of the tree.
pub(super) fn line(node: &Node, path: &Path, shortened: bool) -> String {
    let descriptor = &node.descriptor;
    let branch = format!("{}{}", path.branch(), path.kind());
    let digest = if shortened { short(&descriptor.digest) } else { descriptor.digest.to_string() };
    let size = DecimalBytes(descriptor.size).to_string();
    // Blobs are one level deeper.
    let width = if path.blobs { 15 } else { 14 };
    let mut line = format!("{branch:<width$}  {digest:<12}  {size:>9}");
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

/// The path from the root to a node of a walk.
///
/// A parent's document arrives before its children, and shows what they are and which is the last.
pub(super) struct Path {
    blobs: bool,
    kind: &'static str,
    /// The children that were not entered yet, for each level above the node, and of the node itself.
    children: Vec<vec::IntoIter<Part>>,
}

impl Path {
    pub(super) fn new(blobs: bool) -> Self {
        Self { blobs, kind: "", children: Vec::new() }
    }

    /// Moves on to the next node of the walk.
    pub(super) fn enter(&mut self, node: &Node) {
        self.children.truncate(usize::try_from(node.depth).unwrap_or(usize::MAX));
        self.kind = match self.children.last_mut().and_then(Iterator::next) {
            Some(Part::Config) => "config",
            Some(Part::Layer(_)) => "layer",
            Some(Part::Entry(_)) | None => node.kind.as_str(),
        };
        let parts: Vec<_> = match &node.found {
            Found::Manifest(manifest) if node.kind == Kind::Index || self.blobs => {
                manifest.children().map(|(part, _)| part).collect()
            }
            _ => Vec::new(),
        };
        self.children.push(parts.into_iter());
    }

    /// The kind of the node: that of its type, or its part in an image.
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    fn branch(&self) -> String {
        let [above @ .., parent, _] = &self.children[..] else { return String::new() };
        let passing = above.iter().map(|left| if left.len() > 0 { "│  " } else { "   " });
        passing.chain([if parent.len() > 0 { "├─ " } else { "└─ " }]).collect()
    }
}

/// Enough of a digest to recognize it by eye.
pub(super) fn short(digest: &Digest) -> String {
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

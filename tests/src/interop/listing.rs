//! The expected nodes of a walk, computed from the documents independently of the walk under test.

use std::collections::BTreeSet;

use oci_proto::server::{Content as _, Memory};
use oci_proto::{Descriptor, Digest, Found, MediaType, Node};
use serde_json::{Value, json};

/// Every node under `root` in depth-first pre-order, in the format of `ocip tree --json`.
pub fn listing(memory: &Memory, root: &Descriptor) -> Vec<Value> {
    let mut lister = Lister { memory, seen: BTreeSet::new(), lines: Vec::new() };
    lister.list(
        0,
        &json!({
            "mediaType": root.media_type.as_str(),
            "digest": root.digest.to_string(),
            "size": root.size,
        }),
    );
    lister.lines
}

/// A node in the format of `ocip tree --json`.
pub fn line(node: &Node) -> Value {
    let descriptor = &node.descriptor;
    let mut line = json!({
        "depth": node.depth,
        "mediaType": descriptor.media_type.as_str(),
        "digest": descriptor.digest.to_string(),
        "size": descriptor.size,
        "kind": node.kind.as_str(),
    });
    if let Some(platform) = &descriptor.platform {
        line["platform"] = json!(platform.to_string());
    }
    if let Some(artifact_type) = node.artifact_type() {
        line["artifactType"] = json!(artifact_type.as_str());
    }
    match node.found {
        Found::Repeated => line["repeated"] = json!(true),
        Found::Missing => line["missing"] = json!(true),
        _ => {}
    }
    line
}

/// A parsed document of the content.
///
/// # Panics
/// The content lacks the document, or it is malformed.
pub fn document(memory: &Memory, digest: &str) -> Value {
    let digest: Digest = digest.parse().expect("digests in the content are valid");
    let bytes = memory.bytes(&digest).unwrap_or_else(|| panic!("the content lacks {digest}"));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{digest} is not JSON: {error}"))
}

struct Lister<'a> {
    memory: &'a Memory,
    seen: BTreeSet<String>,
    lines: Vec<Value>,
}

impl Lister<'_> {
    fn list(&mut self, depth: u32, descriptor: &Value) {
        let digest = descriptor["digest"].as_str().expect("a descriptor has a digest");
        let kind = match descriptor["mediaType"].as_str() {
            Some(t) if t == MediaType::OCI_INDEX.as_str() || t == MediaType::DOCKER_LIST.as_str() => "index",
            Some(t) if t == MediaType::OCI_MANIFEST.as_str() || t == MediaType::DOCKER_MANIFEST.as_str() => {
                "image"
            }
            _ => "other",
        };
        let mut line = json!({
            "depth": depth,
            "mediaType": descriptor["mediaType"],
            "digest": digest,
            "size": descriptor["size"],
            "kind": kind,
        });
        if let Some(platform) = descriptor.get("platform") {
            let parts = ["os", "architecture", "variant"].map(|part| platform[part].as_str());
            line["platform"] = json!(parts.into_iter().flatten().collect::<Vec<_>>().join("/"));
        }
        let mut artifact_type = descriptor.get("artifactType").cloned();
        let mut entries = Vec::new();
        if !self.seen.insert(digest.to_owned()) {
            line["repeated"] = json!(true);
        } else if kind != "other" {
            let mut document = document(self.memory, digest);
            artifact_type = document.get("artifactType").cloned().or(artifact_type);
            if let Value::Array(manifests) = document["manifests"].take() {
                entries = manifests;
            }
        }
        if let Some(artifact_type) = artifact_type {
            line["artifactType"] = artifact_type;
        }
        self.lines.push(line);
        for entry in entries {
            self.list(depth + 1, &entry);
        }
    }
}

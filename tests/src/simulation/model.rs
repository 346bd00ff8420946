//! The reference model: a recursion over JSON, independent of the core's walks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use base64::Engine as _;
use oci_proto::server::Content as _;
use oci_proto::{Descriptor, Digest, Limits, Platform, Rank, WalkOptions};
use serde_json::Value;

use crate::simulation::content::Content;

/// The expected events of a walk from the root, and part of the failure if it fails.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Said {
    /// The events in the notation of transcripts, without the failure.
    pub events: Vec<String>,
    /// A part of the failure's message.
    pub failure: Option<&'static str>,
}

/// Walks the tree of `content` under its root.
pub fn walk(content: &Content, options: &WalkOptions, limits: &Limits) -> Said {
    let root = &content.root;
    let said = Said {
        events: vec![format!("resolved {} {} {}", root.media_type, root.digest, root.size)],
        failure: None,
    };
    let mut model = Model { content, options, limits, seen: BTreeMap::new(), bytes: 0, said };
    let descriptor = serde_json::json!({
        "mediaType": root.media_type.as_str(), "digest": root.digest.to_string(), "size": root.size,
    });
    match model.visit(&descriptor, 0) {
        Ok(()) => model.said.events.push("done".to_owned()),
        Err(why) => model.said.failure = Some(why),
    }
    model.said
}

/// The digest of the best match for `platform` among the images of all indexes; the first among equals.
///
/// # Errors
///
/// A document on the way is unavailable; a part of the failure's message.
pub fn choose(content: &Content, platform: &Platform) -> Result<Option<String>, &'static str> {
    let options = WalkOptions::default();
    let limits = Limits::default();
    let model = Model {
        content,
        options: &options,
        limits: &limits,
        seen: BTreeMap::new(),
        bytes: 0,
        said: Said::default(),
    };
    let mut offered = Vec::new();
    let root = serde_json::json!({
        "mediaType": content.root.media_type.as_str(), "digest": content.root.digest.to_string(),
    });
    model.offers(&root, &mut BTreeSet::new(), &mut offered)?;
    let fitting = offered.iter().filter_map(|offer| {
        let rank = match &offer["platform"] {
            Value::Null => offer["artifactType"].is_null().then_some(Rank::LAST_RESORT),
            offer => {
                let part = |name: &str| offer[name].as_str();
                let offered =
                    Platform::from_parts(part("os")?, part("architecture")?, part("variant"), None).ok()?;
                platform.rank(&offered)
            }
        };
        Some((rank?, offer["digest"].as_str()?))
    });
    // `min_by_key` returns the first of several minimums.
    Ok(fitting.min_by_key(|(rank, _)| *rank).map(|(_, digest)| digest.to_owned()))
}

/// The content of a complete pull; none if some content is unavailable.
pub fn pull(content: &Content) -> Option<BTreeSet<Digest>> {
    let mut taken = BTreeSet::new();
    let right = descend(content, true, |digest, _, is_right| {
        taken.insert(digest);
        is_right
    });
    right.then_some(taken)
}

/// The referrers of the tree and of its referrers, if they and the tree are available.
pub(super) fn referrers(content: &Content) -> Option<Vec<Descriptor>> {
    let (mut documents, mut found) = (BTreeSet::new(), Vec::new());
    let add = |content: &Content, documents: &mut BTreeSet<Digest>| {
        descend(content, true, |digest, is_document, is_right| {
            documents.extend(is_document.then_some(digest));
            is_right
        })
    };
    let mut is_right = add(content, &mut documents);
    // Each is listed after its subject.
    for (subject, referrer) in &content.referrers {
        if documents.contains(subject) {
            is_right &= add(&content.at(referrer), &mut documents);
            found.push(referrer.clone());
        }
    }
    is_right.then_some(found)
}

/// The referrers of the tree and of its referrers that refer to the root.
pub(super) fn above_root(content: &Content) -> BTreeSet<Digest> {
    let content = content.whole();
    let referrers = referrers(&content).expect("the whole content is complete");
    let refers = |referrer: &Descriptor| {
        pull(&content.at(referrer)).is_some_and(|tree| tree.contains(&content.root.digest))
    };
    referrers.into_iter().filter(refers).map(|referrer| referrer.digest).collect()
}

/// The content of a complete pull with referrers; none if some content is unavailable.
pub(super) fn pull_all(content: &Content) -> Option<BTreeSet<Digest>> {
    let mut taken = pull(content)?;
    for referrer in referrers(content)? {
        taken.extend(pull(&content.at(&referrer))?);
    }
    Some(taken)
}

/// The findings of a check.
pub fn check(content: &Content) -> BTreeSet<Digest> {
    let mut found = BTreeSet::new();
    descend(content, false, |digest, _, is_right| {
        if !is_right {
            found.insert(digest);
        }
        true
    });
    found
}

/// Calls `tell` for each content that is referred to, with whether it is a document and whether the served copy is
/// correct, until it returns false.
fn descend(content: &Content, takes_data: bool, mut tell: impl FnMut(Digest, bool, bool) -> bool) -> bool {
    let root = serde_json::json!({
        "mediaType": content.root.media_type.as_str(), "digest": content.root.digest.to_string(),
    });
    let mut waiting = vec![root];
    let mut seen = BTreeSet::new();
    while let Some(named) = waiting.pop() {
        let is_document =
            kind(named["mediaType"].as_str().expect("a descriptor has a media type")) != "other";
        let digest: Digest = named["digest"]
            .as_str()
            .expect("a descriptor has a digest")
            .parse()
            .expect("the digest is valid");
        let is_at_hand = takes_data && (named["data"].is_string() || named["size"] == 0);
        // The bytes of a document are in memory when it is parsed.
        if seen.contains(&(digest.clone(), true)) || !seen.insert((digest.clone(), is_document)) {
            continue;
        }
        let right = content.memory.bytes(&digest).expect("the whole tree is in memory");
        let is_right = is_at_hand || content.serves(&digest).as_ref() == Some(&right);
        if !tell(digest, is_document, is_right) {
            return false;
        }
        if is_document && is_right {
            let document: Value = serde_json::from_slice(&right).expect("a document is JSON");
            waiting.extend(named_by(&document, true).into_iter().rev());
        }
    }
    true
}

fn named_by(document: &Value, blobs: bool) -> Vec<Value> {
    let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
    let config = document.get("config").filter(|_| blobs).cloned();
    let layers = if blobs { list("layers") } else { Vec::new() };
    list("manifests").into_iter().chain(config).chain(layers).collect()
}

struct Model<'a> {
    content: &'a Content,
    options: &'a WalkOptions,
    limits: &'a Limits,
    /// Whether each reported digest was fetched.
    seen: BTreeMap<String, bool>,
    bytes: u64,
    said: Said,
}

impl Model<'_> {
    fn visit(&mut self, descriptor: &Value, depth: u64) -> Result<(), &'static str> {
        let digest = descriptor["digest"].as_str().expect("a descriptor has a digest").to_owned();
        let size = descriptor["size"].as_u64().expect("a descriptor has a size");
        let media_type = descriptor["mediaType"].as_str().expect("a descriptor has a media type");
        let kind = kind(media_type);
        let asks = kind != "other";
        let repeated = self.seen.get(&digest).is_some_and(|asked| *asked || !asks);
        if asks && !repeated {
            if depth > u64::from(self.limits.walk_depth) {
                return Err("its depth exceeds the limit");
            }
            if self.bytes + size > self.limits.walk_bytes {
                return Err("with it, the tree's manifests exceed the limit");
            }
        }
        if self.said.events.len() as u64 > self.limits.walk_nodes {
            return Err("the tree exceeds the limit");
        }
        let document = if asks && !repeated { self.fetch(descriptor, &digest)? } else { None };
        self.report(descriptor, depth, kind, document.as_ref(), repeated);
        *self.seen.entry(digest).or_default() |= asks;
        if let Some(document) = document {
            self.bytes += size;
            for child in named_by(&document, self.options.blobs) {
                self.visit(&child, depth + 1)?;
            }
        }
        Ok(())
    }

    /// The document, if it is available.
    fn fetch(&self, descriptor: &Value, digest: &str) -> Result<Option<Value>, &'static str> {
        if let Some(data) = descriptor["data"].as_str() {
            let data = base64::engine::general_purpose::STANDARD.decode(data).expect("Base64");
            return Ok(Some(serde_json::from_slice(&data).expect("a document is JSON")));
        }
        let digest: Digest = digest.parse().expect("the digest is valid");
        match self.content.serves(&digest) {
            None if self.options.strict => Err("the registry does not have"),
            None => Ok(None),
            Some(bytes) if Digest::of(digest.algorithm().expect("a known one"), &bytes) != digest => {
                Err("mismatch")
            }
            Some(bytes) => Ok(Some(serde_json::from_slice(&bytes).expect("a document is JSON"))),
        }
    }

    /// All images of the indexes under `descriptor`, in order.
    fn offers(
        &self,
        descriptor: &Value,
        seen: &mut BTreeSet<String>,
        offered: &mut Vec<Value>,
    ) -> Result<(), &'static str> {
        match kind(descriptor["mediaType"].as_str().expect("a descriptor has a media type")) {
            "image" => offered.push(descriptor.clone()),
            "index" => {
                let digest = descriptor["digest"].as_str().expect("a descriptor has a digest");
                if seen.insert(digest.to_owned()) {
                    let document = self.fetch(descriptor, digest)?;
                    for child in document.iter().flat_map(|document| named_by(document, self.options.blobs)) {
                        self.offers(&child, seen, offered)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn report(
        &mut self,
        descriptor: &Value,
        depth: u64,
        kind: &str,
        document: Option<&Value>,
        repeated: bool,
    ) {
        let (digest, size) = (&descriptor["digest"], &descriptor["size"]);
        let mut text =
            format!("node {depth} {kind} {} {size}", digest.as_str().expect("a descriptor has a digest"));
        if let Some(os) = descriptor["platform"]["os"].as_str() {
            let architecture =
                descriptor["platform"]["architecture"].as_str().expect("a platform has an architecture");
            _ = write!(text, " platform={os}/{architecture}");
            if let Some(variant) = descriptor["platform"]["variant"].as_str() {
                _ = write!(text, "/{variant}");
            }
        }
        let own = document.and_then(|document| document["artifactType"].as_str());
        if let Some(artifact_type) = own.or(descriptor["artifactType"].as_str()) {
            _ = write!(text, " artifact={artifact_type}");
        }
        text += match (repeated, kind, document) {
            (true, ..) => " repeated",
            (_, "other", _) => " leaf",
            (_, _, None) => " missing",
            (_, _, Some(_)) => "",
        };
        self.said.events.push(text);
    }
}

fn kind(media_type: &str) -> &'static str {
    match media_type {
        "application/vnd.oci.image.index.v1+json"
        | "application/vnd.docker.distribution.manifest.list.v2+json" => "index",
        "application/vnd.oci.image.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v2+json" => "image",
        _ => "other",
    }
}

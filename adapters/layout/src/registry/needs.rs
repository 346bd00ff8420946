//! Finds the content that a repository needs, and the content that it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use oci_proto::layout::{Index, blob_path};
use oci_proto::{Descriptor, Digest, Kind, Limits, Manifest, MediaType, Part, VerifyError};

use crate::directory::Directory;
use crate::directory::kind::Access;
use crate::error::{LayoutError, LayoutErrorKind};
use crate::files::{Files, blob_directory};
use crate::layout::{read_index, read_marker};
use crate::registry::holdings::Held;
use crate::registry::load::{algorithms, blobs};

/// The content of a repository that nothing needs.
pub(super) struct Garbage {
    /// The new `index.json`, if it changes.
    pub(super) index: Option<Index>,
    /// The content and its size, by the directory of its algorithm.
    pub(super) content: Vec<(Directory, Vec<(Digest, u64)>)>,
    /// The number of manifests and blobs that nothing needs, but that are too recent, and their size in bytes.
    pub(super) recent: u64,
    pub(super) recent_bytes: u64,
}

/// The age of content that may be garbage: it was written or mounted last at this time, or before. `None` is any age.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age(pub(super) Option<SystemTime>);

impl Age {
    /// Whether a file is more recent. If that is unknown, it is.
    fn is_recent(self, directory: &Directory, digest: &Digest) -> bool {
        let Some(latest) = self.0 else { return false };
        let opened = directory.open_file(&digest.encoded(), Access::Read);
        // Not the time of the last change of its names: removing one would make the others recent.
        let written = opened.ok().and_then(|(file, _)| file.metadata().ok()?.modified().ok());
        written.is_none_or(|written| written > latest)
    }
}

/// Finds the content of a layout that nothing needs, and that is old enough. With `untagged`, manifests without a name
/// are not needed by themselves.
///
/// # Errors
/// A document that is needed cannot be read, so the content that it needs is unknown.
pub(super) fn find(layout: &Directory, untagged: bool, age: Age) -> Result<Garbage, LayoutError> {
    let limits = Limits::default();
    let files = Files::from(layout.clone());
    read_marker(&files)?;
    let mut index = read_index(&files, &limits)?;
    let algorithms = algorithms(layout)?;
    let mut reading = Reading {
        layout,
        algorithms: &algorithms,
        held: blobs(&algorithms)?,
        limit: limits.manifest_bytes,
        documents: BTreeMap::new(),
    };
    reading.read(&index)?;
    let Reading { held, documents, .. } = reading;

    let entries = index.entries().iter();
    let listed: BTreeSet<Digest> = entries.map(|entry| entry.descriptor().digest.clone()).collect();
    let named = index.entries().iter().filter(|entry| {
        let digest = &entry.descriptor().digest;
        let is_opaque = || documents.get(digest).is_none_or(|it| it.is_opaque);
        // The subject of a document that cannot be parsed is unknown.
        !untagged || entry.ref_name().is_some() || entry.image_name().is_some() || is_opaque()
    });
    let mut roots: Vec<Digest> = named.map(|entry| entry.descriptor().digest.clone()).collect();
    let without_recent = needed(roots.clone(), &listed, &documents);
    let is_recent = |digest: &Digest| {
        let directory = algorithms.get(digest.algorithm_name());
        directory.is_some_and(|directory| age.is_recent(directory, digest))
    };
    // Children of an index that may still be pushed.
    roots.extend(listed.difference(&without_recent).filter(|digest| is_recent(digest)).cloned());
    let needed = needed(roots, &listed, &documents);
    let unlisted: Vec<_> = listed.difference(&needed).collect();
    for digest in &unlisted {
        index.remove(digest);
    }
    let index = Some(index).filter(|_| !unlisted.is_empty());

    let mut garbage = Garbage { index, content: Vec::new(), recent: 0, recent_bytes: 0 };
    for (name, directory) in &algorithms {
        // Files with the name of an unknown algorithm may be anything.
        let of_algorithm = held.iter().filter(|(digest, _)| {
            digest.algorithm().is_some()
                && digest.algorithm_name() == name
                && !without_recent.contains(digest)
        });
        let mut found = Vec::new();
        for (digest, held) in of_algorithm {
            if needed.contains(digest) || is_recent(digest) {
                garbage.recent += 1;
                garbage.recent_bytes = garbage.recent_bytes.saturating_add(held.size);
            } else {
                found.push((digest.clone(), held.size));
            }
        }
        if !found.is_empty() {
            garbage.content.push((directory.clone(), found));
        }
    }
    Ok(garbage)
}

/// Returns all that is needed if these roots are.
///
/// A document needs its children and its subject, and keeps its referrers. An unlisted document is kept by keeping the
/// roots that contain it.
fn needed(
    mut pending: Vec<Digest>,
    listed: &BTreeSet<Digest>,
    documents: &BTreeMap<Digest, Document>,
) -> BTreeSet<Digest> {
    let mut owners: BTreeMap<&Digest, Vec<&Digest>> = BTreeMap::new();
    let mut referrers: BTreeMap<&Digest, Vec<&Digest>> = BTreeMap::new();
    for root in listed {
        for member in members(root, listed, documents) {
            owners.entry(member).or_default().push(root);
            if let Some(subject) = documents.get(member).and_then(|document| document.subject.as_ref()) {
                referrers.entry(subject).or_default().push(root);
            }
        }
    }
    let mut needed = BTreeSet::new();
    while let Some(digest) = pending.pop() {
        if !needed.insert(digest.clone()) {
            continue;
        }
        let roots = referrers.get(&digest).into_iter().flatten();
        pending.extend(roots.map(|root| (*root).clone()));
        let Some(document) = documents.get(&digest) else { continue };
        pending.extend(document.needs.iter().cloned());
        let subjects = document.subject.iter().filter_map(|subject| owners.get(subject)).flatten();
        pending.extend(subjects.map(|root| (*root).clone()));
    }
    needed
}

/// A root, and the documents under it that are in no entry of their own.
fn members<'a>(
    root: &'a Digest,
    listed: &BTreeSet<Digest>,
    documents: &'a BTreeMap<Digest, Document>,
) -> BTreeSet<&'a Digest> {
    let mut members = BTreeSet::from([root]);
    let mut pending = vec![root];
    while let Some(document) = pending.pop().and_then(|digest| documents.get(digest)) {
        for child in document.needs.iter().filter(|child| documents.contains_key(child)) {
            if !listed.contains(child) && members.insert(child) {
                pending.push(child);
            }
        }
    }
    members
}

/// A document, and what it refers to.
#[derive(Debug, Default)]
struct Document {
    needs: BTreeSet<Digest>,
    subject: Option<Digest>,
    /// Whether its type is unknown, so that it needs everything that it mentions.
    is_opaque: bool,
}

/// The reading of all documents of a layout.
struct Reading<'a> {
    layout: &'a Directory,
    algorithms: &'a BTreeMap<String, Directory>,
    held: BTreeMap<Digest, Held>,
    limit: u64,
    documents: BTreeMap<Digest, Document>,
}

impl Reading<'_> {
    /// Reads the roots, and all documents under them.
    fn read(&mut self, index: &Index) -> Result<(), LayoutError> {
        let mut pending = Vec::new();
        for entry in index.entries() {
            let root = entry.descriptor();
            self.document(&root.digest, &root.media_type, true, &mut pending)?;
        }
        while let Some((digest, media_type)) = pending.pop() {
            self.document(&digest, &media_type, false, &mut pending)?;
        }
        Ok(())
    }

    /// Reads a document, and adds its children that may be documents to `pending`.
    fn document(
        &mut self,
        digest: &Digest,
        media_type: &MediaType,
        is_root: bool,
        pending: &mut Vec<(Digest, MediaType)>,
    ) -> Result<(), LayoutError> {
        if self.documents.contains_key(digest) {
            return Ok(());
        }
        let Some(size) = self.held.get(digest).map(|held| held.size) else {
            // It may also be there, but not as a file. A client may push an index without all of its children.
            let file = blob_directory(self.layout, digest).and_then(|of| of.size(&digest.encoded()));
            return match file {
                Err(error) if error.is_missing() && !is_root => Ok(()),
                Err(error) => Err(error),
                // It was created just now.
                Ok(_) => Err(self.wrong(digest, LayoutErrorKind::Locked)),
            };
        };
        let mut document = Document::default();
        match self.manifest(digest, media_type, size, is_root)? {
            Content::Manifest(manifest) => {
                for (part, child) in manifest.children() {
                    document.needs.insert(child.digest().clone());
                    if matches!(part, Part::Entry(_)) {
                        pending.push((child.digest().clone(), child.media_type().clone()));
                    }
                }
                document.subject = manifest.subject().map(|subject| subject.digest().clone());
            }
            Content::Opaque(bytes) => {
                document.is_opaque = true;
                document.needs = mentioned(&bytes).filter(|digest| self.held.contains_key(digest)).collect();
                let needs = document.needs.iter();
                pending.extend(needs.map(|digest| (digest.clone(), MediaType::OCTET_STREAM)));
            }
        }
        self.documents.insert(digest.clone(), document);
        Ok(())
    }

    /// Reads content that may be a manifest, with the size that it has rather than the one that a parent states.
    fn manifest(
        &self,
        digest: &Digest,
        media_type: &MediaType,
        size: u64,
        is_root: bool,
    ) -> Result<Content, LayoutError> {
        let is_unknown = media_type.kind() == Kind::Other;
        if is_unknown && size > self.limit {
            return Ok(Content::Opaque(Vec::new()));
        }
        let directory = self.algorithms.get(digest.algorithm_name());
        let directory = directory.ok_or_else(|| self.wrong(digest, LayoutErrorKind::Missing))?;
        let bytes = directory.read(&digest.encoded(), self.limit)?;
        let expected = Descriptor::new(media_type.clone(), digest.clone(), size);
        match Manifest::verified(bytes.clone(), &expected, None) {
            Ok(manifest) if manifest.kind() != Kind::Other => Ok(Content::Manifest(manifest)),
            Ok(_) => Ok(Content::Opaque(bytes.into())),
            // A client may push an index with an entry that is wrong.
            Err(VerifyError::Manifest(_)) if is_unknown || !is_root => Ok(Content::Opaque(bytes.into())),
            Err(error) => Err(self.wrong(digest, error.into())),
        }
    }

    fn wrong(&self, digest: &Digest, kind: LayoutErrorKind) -> LayoutError {
        LayoutError::new(&self.layout.join(blob_path(digest)), kind)
    }
}

/// Content that may be a manifest.
enum Content {
    Manifest(Manifest),
    Opaque(Vec<u8>),
}

/// All digests in a text.
fn mentioned(bytes: &[u8]) -> impl Iterator<Item = Digest> {
    let is_of_digest = |byte: &u8| byte.is_ascii_alphanumeric() || b"+._=:-".contains(byte);
    let words = bytes.split(move |byte| !is_of_digest(byte));
    words.filter_map(|word| str::from_utf8(word).ok()?.parse().ok())
}

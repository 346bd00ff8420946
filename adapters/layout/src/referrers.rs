//! The referrers in a layout: the documents that have others as their subjects.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use oci_proto::layout::{Entry, INDEX, Index};
use oci_proto::{Descriptor, Digest, Kind, Limits, Manifest, MediaType};

use crate::error::{LayoutError, LayoutErrorKind};
use crate::files::Files;

/// The referrers in a layout, by their subjects. Those of one subject are in the order in which they are found.
#[derive(Debug, Default)]
pub(crate) struct Referrers {
    by_subject: BTreeMap<Digest, Vec<Descriptor>>,
    /// The digests of all of them.
    all: BTreeSet<Digest>,
}

impl Referrers {
    /// Reads all documents that can be reached from the roots. One that is missing or invalid is left out.
    ///
    /// # Errors
    /// A file cannot be read, or there are too many documents.
    pub(crate) fn find(files: &Files, index: &Index, limits: &Limits) -> Result<Self, LayoutError> {
        let mut search = Search { files, limits, pending: VecDeque::new(), seen: BTreeSet::new(), bytes: 0 };
        for root in index.entries().iter().map(Entry::descriptor) {
            let may_be_document = root.media_type.is_generic() && root.size <= limits.manifest_bytes;
            if may_be_document || root.media_type.kind() != Kind::Other {
                search.add(root.clone())?;
            }
        }
        let mut found = Self::default();
        while let Some(descriptor) = search.pending.pop_front() {
            let Some(manifest) = search.read(&descriptor)? else { continue };
            if manifest.kind() == Kind::Index {
                let children = manifest.entries().filter(|entry| entry.media_type().kind() != Kind::Other);
                children.map(|entry| entry.to_owned()).try_for_each(|child| search.add(child))?;
            }
            found.add(descriptor, &manifest);
        }
        Ok(found)
    }

    /// The referrers of a subject.
    pub(crate) fn of(&self, subject: &Digest) -> &[Descriptor] {
        self.by_subject.get(subject).map_or(&[], Vec::as_slice)
    }

    /// Whether a document is a referrer of another one.
    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.all.contains(digest)
    }

    fn add(&mut self, Descriptor { digest, size, .. }: Descriptor, manifest: &Manifest) {
        let Some(subject) = manifest.subject() else { return };
        // Descriptors may give it several types.
        if !self.all.insert(digest.clone()) {
            return;
        }
        let mut referrer = Descriptor::new(manifest.media_type().clone(), digest, size);
        // As in a registry's list (distribution-spec, "Listing Referrers").
        let of_config = || manifest.config().map(|config| config.media_type().clone());
        referrer.artifact_type = manifest.artifact_type().cloned().or_else(of_config);
        self.by_subject.entry(subject.digest().clone()).or_default().push(referrer);
    }
}

/// The search for documents in a layout.
struct Search<'a> {
    files: &'a Files,
    limits: &'a Limits,
    pending: VecDeque<Descriptor>,
    /// The size and the type in a descriptor may be wrong, and those in another one right.
    seen: BTreeSet<(Digest, u64, MediaType)>,
    /// The size of all documents that were read.
    bytes: u64,
}

impl Search<'_> {
    fn add(&mut self, descriptor: Descriptor) -> Result<(), LayoutError> {
        let Descriptor { digest, size, media_type, .. } = &descriptor;
        if self.seen.insert((digest.clone(), *size, media_type.clone())) {
            if self.seen.len() as u64 > self.limits.walk_nodes {
                return Err(self.exceeded());
            }
            self.pending.push_back(descriptor);
        }
        Ok(())
    }

    /// Reads and verifies a document, if it is one.
    fn read(&mut self, descriptor: &Descriptor) -> Result<Option<Manifest>, LayoutError> {
        let bytes = match self.files.read_blob(&descriptor.digest, self.limits.manifest_bytes) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), LayoutErrorKind::Io(_)) => return Err(error),
            Err(_) => return Ok(None),
        };
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > self.limits.walk_bytes {
            return Err(self.exceeded());
        }
        Ok(Manifest::sniffed(bytes, descriptor, None).unwrap_or_default())
    }

    fn exceeded(&self) -> LayoutError {
        let (documents, bytes) = (self.limits.walk_nodes, self.limits.walk_bytes);
        self.files.wrong(INDEX, LayoutErrorKind::ManyDocuments { documents, bytes })
    }
}

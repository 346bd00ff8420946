//! The referrers in a layout: the documents that have others as their subjects.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use oci_proto::layout::{Entry, INDEX, Index, blob_path};
use oci_proto::{Descriptor, Digest, Kind, Limits, Manifest, MediaType, Tag, fallback_tag, is_fallback_tag};

use crate::error::{LayoutError, LayoutErrorKind};
use crate::files::Files;

/// The referrers in a layout, by their subjects. Those of one subject are in the order in which they are found, and those
/// that only the index under its fallback tag names are last.
#[derive(Debug, Default)]
pub(crate) struct Referrers {
    by_subject: BTreeMap<Digest, Vec<Descriptor>>,
    /// What the indexes under fallback tags list, or why one cannot be read. The tag of a long digest has only a part of
    /// it, so subjects are looked up by their tags.
    listed: BTreeMap<Tag, Result<Vec<Descriptor>, LayoutError>>,
    /// The digests of all of them.
    all: BTreeSet<Digest>,
}

impl Referrers {
    /// Reads all documents that can be reached from the roots. One that is missing or invalid is left out, unless an index
    /// under a fallback tag lists it.
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
        let mut lists = Lists::named(index);
        let mut found = Self::default();
        while let Some(descriptor) = search.pending.pop_front() {
            let read = search.read(&descriptor);
            if let Err(error) = &read
                && matches!(error.kind(), LayoutErrorKind::Io(_) | LayoutErrorKind::ManyDocuments { .. })
            {
                return Err(error.clone());
            }
            lists.take(&descriptor, &read);
            let Ok(Some(manifest)) = read else { continue };
            if manifest.kind() == Kind::Index {
                let children = manifest.entries().filter(|entry| entry.media_type().kind() != Kind::Other);
                children.map(|entry| entry.to_owned()).try_for_each(|child| search.add(child))?;
            }
            found.add(descriptor, &manifest);
        }
        found.add_listed(lists, limits.walk_nodes).ok_or_else(|| search.exceeded())?;
        Ok(found)
    }

    /// The referrers of a subject.
    ///
    /// # Errors
    /// The index under its fallback tag is missing or invalid.
    pub(crate) fn of(&self, subject: &Digest) -> Result<&[Descriptor], LayoutError> {
        let listed = match self.listed.get(&fallback_tag(subject)) {
            Some(Err(error)) => return Err(error.clone()),
            Some(Ok(listed)) => listed.as_slice(),
            None => &[],
        };
        Ok(self.by_subject.get(subject).map_or(listed, Vec::as_slice))
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

    /// Adds what indexes under fallback tags list, whether it can be read or not. Returns `None` if it is more than `limit`:
    /// one index may have any number of tags, and one tag may be that of any number of subjects.
    fn add_listed(&mut self, lists: Lists, limit: u64) -> Option<()> {
        let fits = |count: &mut u64, more: usize| {
            *count = count.saturating_add(more as u64);
            (*count <= limit).then_some(())
        };
        let (mut of_tags, mut of_subjects) = (0, 0);
        for List { tags, read } in lists.0.into_values() {
            let Some(read) = read else { continue };
            for tag in tags {
                // Two roots may have the name.
                let of_tag = self.listed.entry(tag).or_insert_with(|| Ok(Vec::new()));
                match (of_tag, &read) {
                    (Ok(all), Ok(listed)) => {
                        fits(&mut of_tags, listed.len())?;
                        all.extend(listed.iter().cloned());
                    }
                    (Err(_), _) => {}
                    (of_tag, Err(error)) => *of_tag = Err(error.clone()),
                }
            }
        }
        for (tag, listed) in &mut self.listed {
            let Ok(listed) = listed else { continue };
            retain_new(listed);
            // The subject itself, in the list of its referrers, is none.
            listed.retain(|listed| fallback_tag(&listed.digest) != *tag);
            self.all.extend(listed.iter().map(|listed| listed.digest.clone()));
        }
        for (subject, referrers) in &mut self.by_subject {
            if let Some(Ok(listed)) = self.listed.get(&fallback_tag(subject)) {
                fits(&mut of_subjects, listed.len())?;
                referrers.extend(listed.iter().cloned());
                retain_new(referrers);
            }
        }
        Some(())
    }
}

/// Keeps the first descriptor of each digest.
fn retain_new(descriptors: &mut Vec<Descriptor>) {
    let mut known = BTreeSet::new();
    descriptors.retain(|descriptor| known.insert(descriptor.digest.clone()));
}

/// The roots under fallback tags.
struct Lists(BTreeMap<Digest, List>);

/// A root under fallback tags.
#[derive(Default)]
struct List {
    tags: BTreeSet<Tag>,
    /// What it lists, or why it cannot be read. `None` if it is no list of referrers.
    read: Option<Result<Vec<Descriptor>, LayoutError>>,
}

impl Lists {
    fn named(index: &Index) -> Self {
        let mut lists = BTreeMap::<_, List>::new();
        for entry in index.entries() {
            let digest = &entry.descriptor().digest;
            for name in entry.ref_name().into_iter().chain(entry.image_name()) {
                // A name may be a whole reference.
                let tag = name.rsplit(':').next().and_then(|tag| tag.parse().ok());
                // A tag may also be that of the document itself, instead of its referrers.
                if let Some(tag) = tag.filter(|tag| is_fallback_tag(tag) && *tag != fallback_tag(digest)) {
                    lists.entry(digest.clone()).or_default().tags.insert(tag);
                }
            }
        }
        Self(lists)
    }

    /// Takes a document, or the error of reading it.
    fn take(&mut self, descriptor: &Descriptor, read: &Result<Option<Manifest>, LayoutError>) {
        let Some(list) = self.0.get_mut(&descriptor.digest) else { return };
        let media_type = &descriptor.media_type;
        match read {
            // As in a registry (distribution-spec, "Referrers Tag Schema"). An index with a subject is itself a referrer.
            Ok(Some(manifest))
                if *manifest.media_type() == MediaType::OCI_INDEX && manifest.subject().is_none() =>
            {
                list.read = Some(Ok(manifest.entries().map(|entry| entry.to_owned()).collect()));
            }
            Err(error) if *media_type == MediaType::OCI_INDEX || media_type.is_generic() => {
                // Another descriptor of it may be right.
                list.read.get_or_insert_with(|| Err(error.clone()));
            }
            _ => {}
        }
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
        let bytes = self.files.read_blob(&descriptor.digest, self.limits.manifest_bytes)?;
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > self.limits.walk_bytes {
            return Err(self.exceeded());
        }
        Manifest::sniffed(bytes, descriptor, None)
            .map_err(|error| self.files.wrong(&blob_path(&descriptor.digest), error))
    }

    fn exceeded(&self) -> LayoutError {
        let (documents, bytes) = (self.limits.walk_nodes, self.limits.walk_bytes);
        self.files.wrong(INDEX, LayoutErrorKind::ManyDocuments { documents, bytes })
    }
}

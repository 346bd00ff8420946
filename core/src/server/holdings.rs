//! The contents of one repository.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::manifest::Manifest;
use crate::types::digest::Digest;
use crate::types::media_type::MediaType;
use crate::types::reference::name::Tag;
use crate::wire::list::referrers_index::{entry, listed_type};
use bytes::Bytes;

/// The tags, manifests and blobs of one repository.
#[derive(Clone, Debug, Default)]
pub(super) struct Holdings {
    pub(super) tags: BTreeMap<Tag, Digest>,
    pub(super) manifests: BTreeMap<Digest, StoredManifest>,
    /// The sizes of the blobs, in bytes.
    pub(super) blobs: BTreeMap<Digest, u64>,
    /// The digests of each subject's referrers, so that listing them does not visit other manifests.
    subjects: BTreeMap<Digest, BTreeSet<Digest>>,
}

/// The content that the manifests endpoint serves under one digest.
#[derive(Clone, Debug)]
pub(super) struct StoredManifest {
    pub(super) media_type: MediaType,
    pub(super) size: u64,
    /// `None` for an entry that is not read: its bytes are served from a blob.
    pub(super) bytes: Option<Bytes>,
    pub(super) referrer: Option<Referrer>,
}

/// A document with a subject, as listed among the subject's referrers.
#[derive(Clone, Debug)]
pub(super) struct Referrer {
    pub(super) subject: Digest,
    pub(super) artifact_type: Option<MediaType>,
    /// Its entry in the list, as JSON.
    pub(super) entry: String,
}

impl Holdings {
    /// Adds other content, except its tags.
    pub(super) fn merge(&mut self, other: Self) {
        for (digest, stored) in other.manifests {
            self.insert_manifest(digest, stored);
        }
        self.blobs.extend(other.blobs);
    }

    /// Adds a manifest. A parsed document is never replaced by an unread entry.
    pub(super) fn insert_manifest(&mut self, digest: Digest, stored: StoredManifest) {
        let known = self.manifests.get(&digest);
        if stored.bytes.is_some() || known.is_none_or(|known| known.bytes.is_none()) {
            if let Some(referrer) = &stored.referrer {
                self.subjects.entry(referrer.subject.clone()).or_default().insert(digest.clone());
            }
            self.manifests.insert(digest, stored);
        }
    }

    /// Removes a manifest and a blob. Returns whether either was present.
    pub(super) fn remove(&mut self, digest: &Digest) -> bool {
        let (manifest, blob) = (self.remove_manifest(digest), self.blobs.remove(digest));
        manifest || blob.is_some()
    }

    /// Removes a manifest. Returns whether it was present.
    pub(super) fn remove_manifest(&mut self, digest: &Digest) -> bool {
        let manifest = self.manifests.remove(digest);
        if let Some(Referrer { subject, .. }) = manifest.as_ref().and_then(|stored| stored.referrer.as_ref())
            && let Some(referrers) = self.subjects.get_mut(subject)
        {
            referrers.remove(digest);
            if referrers.is_empty() {
                self.subjects.remove(subject);
            }
        }
        manifest.is_some()
    }

    /// Returns the referrers of a subject after one of them, in the order of their digests.
    pub(super) fn referrers(
        &self,
        subject: &Digest,
        last: Option<&Digest>,
    ) -> impl Iterator<Item = (&Digest, &Referrer)> {
        let after = (last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let digests = self.subjects.get(subject).into_iter().flat_map(move |all| all.range(after));
        digests.filter_map(|digest| Some((digest, self.manifests.get(digest)?.referrer.as_ref()?)))
    }
}

impl StoredManifest {
    pub(super) fn document(digest: &Digest, manifest: &Manifest) -> Self {
        Self {
            media_type: manifest.media_type().clone(),
            size: manifest.bytes().len() as u64,
            bytes: Some(manifest.bytes().clone()),
            referrer: manifest.subject().map(|subject| Referrer {
                subject: subject.digest().clone(),
                artifact_type: listed_type(manifest).cloned(),
                entry: entry(digest, manifest),
            }),
        }
    }

    pub(super) fn leaf(media_type: MediaType, size: u64) -> Self {
        Self { media_type, size, bytes: None, referrer: None }
    }
}

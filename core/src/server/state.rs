//! The state of a server, and the changes that are not durable yet.

use std::collections::BTreeMap;

use crate::server::holdings::{Holdings, StoredManifest};
use crate::server::policy::Policy;
use crate::server::upload::{Upload, Uploads};
use crate::types::digest::Digest;
use crate::types::reference::name::{Repository, Tag};
use crate::types::upload_id::UploadId;

/// The state of a server. Readers see what is durable; a request that writes also sees the changes before it.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) repositories: BTreeMap<Repository, Holdings>,
    pub(super) policy: Policy,
    pub(super) uploads: Uploads,
    staged: BTreeMap<Repository, Changes>,
    /// Uploads that end with the changes.
    ended: Vec<(UploadId, Upload)>,
}

/// Changes of one repository: new values, or `None` for what is removed.
#[derive(Clone, Debug, Default)]
struct Changes {
    tags: BTreeMap<Tag, Option<Digest>>,
    manifests: BTreeMap<Digest, Option<StoredManifest>>,
    blobs: BTreeMap<Digest, Option<u64>>,
}

impl State {
    pub(super) fn new(policy: Policy, seed: u64) -> Self {
        Self { policy, uploads: Uploads::new(seed), ..Self::default() }
    }

    /// Makes all changes visible.
    pub(super) fn commit(&mut self) {
        for (repository, changes) in std::mem::take(&mut self.staged) {
            let holdings = self.repositories.entry(repository).or_default();
            for (digest, size) in changes.blobs {
                match size {
                    Some(size) => _ = holdings.blobs.insert(digest, size),
                    None => _ = holdings.blobs.remove(&digest),
                }
            }
            for (digest, stored) in changes.manifests {
                match stored {
                    Some(stored) => holdings.insert_manifest(digest, stored),
                    None => _ = holdings.remove_manifest(&digest),
                }
            }
            for (tag, digest) in changes.tags {
                match digest {
                    Some(digest) => _ = holdings.tags.insert(tag, digest),
                    None => _ = holdings.tags.remove(&tag),
                }
            }
        }
        self.ended.clear();
    }

    /// Forgets all changes.
    pub(super) fn roll_back(&mut self) {
        self.staged.clear();
        for (id, upload) in std::mem::take(&mut self.ended) {
            self.uploads.put_back(id, upload);
        }
    }

    pub(super) fn tag(&self, repository: &Repository, tag: &Tag) -> Option<&Digest> {
        match self.staged.get(repository).and_then(|changes| changes.tags.get(tag)) {
            Some(staged) => staged.as_ref(),
            None => self.repositories.get(repository)?.tags.get(tag),
        }
    }

    pub(super) fn manifest(&self, repository: &Repository, digest: &Digest) -> Option<&StoredManifest> {
        match self.staged.get(repository).and_then(|changes| changes.manifests.get(digest)) {
            Some(staged) => staged.as_ref(),
            None => self.repositories.get(repository)?.manifests.get(digest),
        }
    }

    /// Returns the size of a blob.
    pub(super) fn blob(&self, repository: &Repository, digest: &Digest) -> Option<u64> {
        match self.staged.get(repository).and_then(|changes| changes.blobs.get(digest)) {
            Some(staged) => *staged,
            None => self.repositories.get(repository)?.blobs.get(digest).copied(),
        }
    }

    /// Returns the tags of a manifest.
    pub(super) fn tags_of(&self, repository: &Repository, digest: &Digest) -> Vec<Tag> {
        let staged = self.staged.get(repository).map(|changes| &changes.tags);
        let durable = self.repositories.get(repository).map(|holdings| &holdings.tags);
        let is_staged = |tag: &Tag| staged.is_some_and(|staged| staged.contains_key(tag));
        let kept = durable.into_iter().flatten().filter(|(tag, of)| *of == digest && !is_staged(tag));
        let set = staged.into_iter().flatten().filter(|(_, of)| of.as_ref() == Some(digest));
        kept.map(|(tag, _)| tag).chain(set.map(|(tag, _)| tag)).cloned().collect()
    }

    pub(super) fn set_tag(&mut self, repository: &Repository, tag: Tag, digest: Option<Digest>) {
        self.changes(repository).tags.insert(tag, digest);
    }

    pub(super) fn set_manifest(
        &mut self,
        repository: &Repository,
        digest: Digest,
        stored: Option<StoredManifest>,
    ) {
        self.changes(repository).manifests.insert(digest, stored);
    }

    pub(super) fn set_blob(&mut self, repository: &Repository, digest: Digest, size: Option<u64>) {
        self.changes(repository).blobs.insert(digest, size);
    }

    /// Ends an upload with the changes.
    pub(super) fn end_upload(&mut self, id: &UploadId) {
        if let Some(upload) = self.uploads.remove(id) {
            self.ended.push((id.clone(), upload));
        }
    }

    /// Notes that the request of an upload has ended that was ended before. It may be opened again.
    pub(super) fn release_ended(&mut self, id: &UploadId) {
        for (_, upload) in self.ended.iter_mut().filter(|(ended, _)| ended == id) {
            upload.is_busy = false;
        }
    }

    /// Returns whether no change of a repository waits to become durable.
    pub(super) fn is_settled(&self, repository: &Repository) -> bool {
        !self.staged.contains_key(repository)
    }

    fn changes(&mut self, repository: &Repository) -> &mut Changes {
        self.staged.entry(repository.clone()).or_default()
    }
}

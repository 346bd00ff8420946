//! The state of a server, and the changes that are not durable yet.

use std::collections::{BTreeMap, BTreeSet};

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
    /// The number of the request that is answered.
    request: u64,
    /// The changes of requests, the oldest first.
    staged: Vec<Staged>,
}

/// The changes of a request.
#[derive(Clone, Debug, Default)]
struct Staged {
    request: u64,
    repositories: BTreeMap<Repository, Changes>,
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

    /// Begins the changes of a request, and returns its number.
    pub(super) fn begin_request(&mut self) -> u64 {
        self.request += 1;
        self.request
    }

    /// Makes the changes of a request visible.
    pub(super) fn commit(&mut self, request: u64) {
        let Some(staged) = self.take_staged(request) else { return };
        for (repository, changes) in staged.repositories {
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
    }

    /// Forgets the changes of a request.
    pub(super) fn roll_back(&mut self, request: u64) {
        for (id, upload) in self.take_staged(request).into_iter().flat_map(|staged| staged.ended) {
            self.uploads.put_back(id, upload);
        }
    }

    fn take_staged(&mut self, request: u64) -> Option<Staged> {
        let at = self.staged.iter().position(|staged| staged.request == request)?;
        Some(self.staged.remove(at))
    }

    pub(super) fn tag(&self, repository: &Repository, tag: &Tag) -> Option<&Digest> {
        match self.staged(repository).find_map(|changes| changes.tags.get(tag)) {
            Some(staged) => staged.as_ref(),
            None => self.repositories.get(repository)?.tags.get(tag),
        }
    }

    pub(super) fn manifest(&self, repository: &Repository, digest: &Digest) -> Option<&StoredManifest> {
        match self.staged(repository).find_map(|changes| changes.manifests.get(digest)) {
            Some(staged) => staged.as_ref(),
            None => self.repositories.get(repository)?.manifests.get(digest),
        }
    }

    /// Returns the size of a blob.
    pub(super) fn blob(&self, repository: &Repository, digest: &Digest) -> Option<u64> {
        match self.staged(repository).find_map(|changes| changes.blobs.get(digest)) {
            Some(staged) => *staged,
            None => self.repositories.get(repository)?.blobs.get(digest).copied(),
        }
    }

    /// Returns the tags of a manifest.
    pub(super) fn tags_of(&self, repository: &Repository, digest: &Digest) -> Vec<Tag> {
        let durable = self.repositories.get(repository).into_iter().flat_map(|holdings| &holdings.tags);
        let mut tags: BTreeSet<&Tag> = durable.filter(|(_, of)| *of == digest).map(|(tag, _)| tag).collect();
        let staged = self.staged.iter().filter_map(|staged| staged.repositories.get(repository));
        for (tag, of) in staged.flat_map(|changes| &changes.tags) {
            if of.as_ref() == Some(digest) {
                tags.insert(tag);
            } else {
                tags.remove(tag);
            }
        }
        tags.into_iter().cloned().collect()
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
            self.stage().ended.push((id.clone(), upload));
        }
    }

    /// Notes that the request of an upload has ended. Returns whether the upload was ended before by a change that is not
    /// durable yet, so that it may be opened again.
    pub(super) fn release_ended(&mut self, id: &UploadId) -> bool {
        let mut ended = self.staged.iter_mut().flat_map(|staged| &mut staged.ended);
        let found = ended.find(|(ended, _)| ended == id);
        found.map(|(_, upload)| upload.is_busy = false).is_some()
    }

    /// Returns whether no change of a repository waits to become durable.
    pub(super) fn is_settled(&self, repository: &Repository) -> bool {
        self.staged(repository).next().is_none()
    }

    /// Returns the changes of a repository, the newest first.
    fn staged(&self, repository: &Repository) -> impl Iterator<Item = &Changes> {
        self.staged.iter().rev().filter_map(|staged| staged.repositories.get(repository))
    }

    fn changes(&mut self, repository: &Repository) -> &mut Changes {
        self.stage().repositories.entry(repository.clone()).or_default()
    }

    /// Returns the changes of the request that is answered.
    fn stage(&mut self) -> &mut Staged {
        let request = self.request;
        if self.staged.last().is_none_or(|last| last.request != request) {
            self.staged.push(Staged { request, ..Staged::default() });
        }
        self.staged.last_mut().expect("it was added above")
    }
}

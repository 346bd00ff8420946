//! A disk that fails, and that loses what was not synced.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use oci_proto::server::{Effect, Failure, Server, Storage, Unavailable, UploadId};
use oci_proto::{Digest, Manifest, Repository, Tag, Time};

/// What a registry has on its disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) blobs: BTreeMap<(Repository, Digest), Bytes>,
    pub(super) manifests: BTreeMap<(Repository, Digest), Manifest>,
    pub(super) tags: BTreeMap<(Repository, Tag), Digest>,
    uploads: BTreeMap<UploadId, Upload>,
    /// The number of times that something was changed.
    pub(super) writes: usize,
    /// What fails next.
    pub(super) fails: Option<Fails>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fails {
    Write,
    Sync,
    Apply,
}

#[derive(Debug)]
struct Upload {
    repository: Repository,
    bytes: Vec<u8>,
    /// The number of bytes that survive a crash.
    synced: usize,
}

impl Disk {
    /// Forgets what was not synced.
    pub(super) fn crash(&mut self) {
        for upload in self.uploads.values_mut() {
            upload.bytes.truncate(upload.synced);
        }
    }

    /// The number of bytes of an upload, unless it has ended.
    pub(super) fn kept_of(&self, upload: &UploadId) -> Option<usize> {
        Some(self.uploads.get(upload)?.bytes.len())
    }

    /// Tells a new server what is there.
    pub(super) fn load(&self, server: &mut Server, now: Time) {
        for ((repository, digest), bytes) in &self.blobs {
            server.add_blob(repository, digest.clone(), bytes.len() as u64);
        }
        for ((repository, digest), manifest) in &self.manifests {
            let tags = self.tags.iter().filter(|((of, _), named)| of == repository && *named == digest);
            let tags = tags.map(|((_, tag), _)| tag.clone());
            server.add_manifest(repository, digest, manifest, tags);
        }
        for (id, upload) in &self.uploads {
            server.restore_upload(now, upload.repository.clone(), id.clone(), upload.bytes.len() as u64);
        }
    }

    /// Returns all blobs and manifests.
    pub(super) fn contents(&self) -> impl Iterator<Item = (&Digest, &Bytes)> {
        let manifests = self.manifests.iter().map(|((_, digest), manifest)| (digest, manifest.bytes()));
        self.blobs.iter().map(|((_, digest), bytes)| (digest, bytes)).chain(manifests)
    }

    /// Returns whether a repository has this content.
    pub(super) fn has(&self, repository: &Repository, digest: &Digest) -> bool {
        let key = (repository.clone(), digest.clone());
        self.blobs.contains_key(&key) || self.manifests.contains_key(&key)
    }

    fn fails(&mut self, at: Fails) -> Result<(), Failure> {
        if self.fails == Some(at) {
            self.fails = None;
            return Err(Failure::Full);
        }
        Ok(())
    }
}

impl Storage for Disk {
    fn write(
        &mut self,
        repository: &Repository,
        upload: &UploadId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        self.fails(Fails::Write)?;
        let begun = || Upload { repository: repository.clone(), bytes: Vec::new(), synced: 0 };
        let upload = self.uploads.entry(upload.clone()).or_insert_with(begun);
        let offset = usize::try_from(offset).expect("it is small");
        assert!(offset <= upload.bytes.len(), "a hole in an upload");
        upload.bytes.truncate(offset);
        upload.synced = upload.synced.min(offset);
        upload.bytes.extend_from_slice(bytes);
        self.writes += 1;
        Ok(())
    }

    fn sync(&mut self, upload: &UploadId) -> Result<(), Failure> {
        self.fails(Fails::Sync)?;
        if let Some(upload) = self.uploads.get_mut(upload) {
            upload.synced = upload.bytes.len();
        }
        Ok(())
    }

    fn read_upload(
        &self,
        upload: &UploadId,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Failure> {
        let range = usize::try_from(range.start).expect("it is small")
            ..usize::try_from(range.end).expect("it is small");
        let upload = self.uploads.get(upload).expect("it has bytes");
        upload.bytes.get(range).expect("they are there").chunks(7).for_each(take);
        Ok(())
    }

    fn apply(&mut self, changes: &[(&Repository, &[Effect])]) -> Result<(), Failure> {
        self.fails(Fails::Apply)?;
        for (repository, effect) in
            changes.iter().flat_map(|(of, all)| all.iter().map(|effect| (*of, effect)))
        {
            let key = |digest: &Digest| (repository.clone(), digest.clone());
            // A client may end an upload in the background.
            self.writes += usize::from(!matches!(effect, Effect::EndUpload(_)));
            match effect {
                Effect::Commit { upload, digest, size } => {
                    // The upload of an empty blob has no bytes.
                    let upload = self.uploads.remove(upload);
                    let synced = upload.iter().flat_map(|upload| &upload.bytes[..upload.synced]);
                    let bytes: Bytes =
                        synced.copied().take(usize::try_from(*size).expect("it is small")).collect();
                    assert_eq!(bytes.len() as u64, *size, "a blob is committed that is not synced");
                    self.blobs.insert(key(digest), bytes);
                }
                Effect::EndUpload(upload) => _ = self.uploads.remove(upload),
                Effect::Mount { from, digest, size } => {
                    let bytes = self.blobs.get(&(from.clone(), digest.clone())).cloned();
                    let bytes = bytes.expect("the source has it");
                    assert_eq!(bytes.len() as u64, *size);
                    self.blobs.insert(key(digest), bytes);
                }
                Effect::PutManifest { digest, manifest } => {
                    self.manifests.insert(key(digest), manifest.clone());
                }
                Effect::SetTag(tag, digest) => {
                    assert!(self.manifests.contains_key(&key(digest)), "a tag is set to what is not there");
                    self.tags.insert((repository.clone(), tag.clone()), digest.clone());
                }
                Effect::RemoveTag(tag) => _ = self.tags.remove(&(repository.clone(), tag.clone())),
                Effect::RemoveManifest(digest) => _ = self.manifests.remove(&key(digest)),
                Effect::RemoveBlob(digest) => _ = self.blobs.remove(&key(digest)),
                other => panic!("an unknown effect: {other:?}"),
            }
        }
        Ok(())
    }

    fn read(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Bytes, Unavailable> {
        let blob = self.blobs.get(&(repository.clone(), digest.clone())).ok_or(Unavailable::Missing)?;
        let at = |position: u64| usize::try_from(position).expect("it is small");
        Ok(blob.slice(at(range.start)..at(range.end)))
    }
}

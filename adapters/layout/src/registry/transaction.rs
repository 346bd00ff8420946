//! The effects of several replies, which are carried out together or not at all.
//!
//! 1. New content gets its names, each once its bytes are on disk, and then the directories are synced.
//! 2. Each `index.json` that changes is written beside, and then replaces the old one. So what it lists is on disk.
//! 3. Content that nothing lists any more is removed.
//!
//! A file that is replaced or removed is kept under a temporary name to the end, so that all of this can be undone even
//! if the disk is full.

use std::collections::BTreeMap;

use oci_proto::layout::{INDEX, Index, RefName};
use oci_proto::server::{Effect, UploadId};
use oci_proto::{Descriptor, Digest, Limits, Manifest, MediaType, Repository, Tag};

use crate::directory::Directory;
use crate::error::{LayoutError, LayoutErrorKind};
use crate::files::Files;
use crate::layout::read_index;
use crate::registry::folder::{self, Folder};
use crate::registry::holdings::{Held, Holdings, Indexes, Known, Listing};
use crate::registry::journal::Journal;
use crate::registry::space::Space;
use crate::registry::uploads::Uploads;
use crate::writer::staging::Staging;

/// What a transaction changes.
pub(super) struct Transaction<'a> {
    root: &'a Directory,
    uploads: &'a Uploads,
    space: &'a Space,
    known: &'a Holdings,
    /// An index is taken when it changes, so that after a failure it is read again.
    indexes: &'a mut Indexes,
    journal: Journal<'a>,
    changed: BTreeMap<&'a Repository, Changed>,
    ended: Vec<UploadId>,
    /// The size of the content that is added, except for that of uploads, which counts already.
    reserved: u64,
}

/// The changes of one repository.
struct Changed {
    folder: Folder,
    /// What it then has of each content, or `None` if that is removed.
    held: BTreeMap<Digest, Option<Held>>,
    /// The new `index.json`, if it changes.
    index: Option<Index>,
}

/// What a transaction has changed.
pub(super) struct Applied {
    pub(super) held: Vec<(Repository, BTreeMap<Digest, Option<Held>>)>,
    pub(super) ended: Vec<UploadId>,
    pub(super) reserved: u64,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(
        root: &'a Directory,
        uploads: &'a Uploads,
        space: &'a Space,
        staging: &'a Staging,
        known: &'a mut Known,
    ) -> Self {
        let Known { holdings, indexes } = known;
        Self {
            root,
            uploads,
            space,
            known: holdings,
            indexes,
            journal: Journal::new(staging),
            changed: BTreeMap::new(),
            ended: Vec::new(),
            reserved: 0,
        }
    }

    /// Carries out everything. If that fails, nothing has changed after [`undo`](Self::undo).
    pub(super) fn carry_out(
        &mut self,
        changes: &'a [(&'a Repository, &'a [Effect])],
    ) -> Result<(), LayoutError> {
        for (repository, effects) in changes {
            for effect in *effects {
                self.effect(repository, effect)?;
            }
        }
        for changed in self.changed.values_mut() {
            changed.folder.sync(&self.journal)?;
        }
        self.replace_indexes()?;
        for changed in self.changed.values_mut() {
            for (digest, _) in changed.held.iter().filter(|(_, held)| held.is_none()) {
                changed.folder.remove(digest, &mut self.journal)?;
            }
            changed.folder.sync(&self.journal)?;
        }
        Ok(())
    }

    /// Undoes what was carried out.
    pub(super) fn undo(self) -> Result<(), LayoutError> {
        self.space.release(self.reserved);
        self.journal.undo()
    }

    /// Removes what was needed only to undo.
    pub(super) fn finish(self) -> Applied {
        self.journal.finish();
        let mut held = Vec::new();
        for (repository, changed) in self.changed {
            if let Some(index) = changed.index {
                self.indexes.insert(repository.clone(), index);
            }
            held.push((repository.clone(), changed.held));
        }
        Applied { held, ended: self.ended, reserved: self.reserved }
    }

    fn effect(&mut self, repository: &'a Repository, effect: &Effect) -> Result<(), LayoutError> {
        match effect {
            Effect::Commit { upload, digest, size } => {
                self.commit(repository, upload, digest, *size)?;
                self.ended.push(upload.clone());
            }
            Effect::EndUpload(upload) => self.ended.push(upload.clone()),
            Effect::Mount { from, digest, size } => self.mount(repository, from, digest, *size)?,
            Effect::PutManifest { digest, manifest } => self.put(repository, digest, manifest)?,
            Effect::SetTag(tag, digest) => self.set_tag(repository, tag, digest)?,
            Effect::RemoveTag(tag) => self.index(repository)?.remove_name(&RefName::from(tag)),
            Effect::RemoveManifest(digest) => self.remove_manifest(repository, digest)?,
            Effect::RemoveBlob(digest) => {
                if let Some(held) = self.held(repository, digest) {
                    self.set(repository, digest, Held { is_blob: false, ..held })?;
                }
            }
            // Carried out only in part, a reply would be lost.
            other => {
                let kind = std::io::Error::other(format!("unknown effect {other:?}"));
                return Err(LayoutError::new(self.root.path(), kind));
            }
        }
        Ok(())
    }

    fn commit(
        &mut self,
        repository: &'a Repository,
        upload: &UploadId,
        digest: &Digest,
        size: u64,
    ) -> Result<(), LayoutError> {
        // Also if there is a file already: it may be damaged, and this content was verified.
        let uploads = self.uploads;
        let from = uploads.finish(upload, size)?;
        let (changed, journal) = self.changed(repository)?;
        match from {
            Some(from) => changed.folder.take(digest, (from, upload.as_str()), size, journal)?,
            None if changed.folder.has(digest, 0) => {}
            None => changed.folder.put(digest, &[], journal)?,
        }
        self.hold(repository, digest, size, |held| held.is_blob = true)
    }

    fn mount(
        &mut self,
        repository: &'a Repository,
        from: &Repository,
        digest: &Digest,
        size: u64,
    ) -> Result<(), LayoutError> {
        if !self.has(repository, digest, size)? {
            let space = self.space;
            self.reserve(size)?;
            let from = folder::open(self.root, from)?;
            let (changed, journal) = self.changed(repository)?;
            changed.folder.mount(digest, &from, size, || space.check_free(size), journal)?;
        }
        self.changed(repository)?.0.folder.touch(digest);
        self.hold(repository, digest, size, |held| held.is_blob = true)
    }

    fn put(
        &mut self,
        repository: &'a Repository,
        digest: &Digest,
        manifest: &Manifest,
    ) -> Result<(), LayoutError> {
        let (content, media_type) = (manifest.bytes(), manifest.media_type());
        let size = content.len() as u64;
        let limit = Limits::default().manifest_bytes;
        if size > limit {
            // It could not be read again.
            return Err(LayoutError::new(self.root.path(), LayoutErrorKind::TooLarge(limit)));
        }
        if !self.has(repository, digest, size)? {
            self.reserve(size)?;
            self.space.check_free(size)?;
        }
        let (changed, journal) = self.changed(repository)?;
        if !changed.folder.has_content(digest, content) {
            changed.folder.put(digest, content, journal)?;
        }
        let root = Descriptor::new(media_type.clone(), digest.clone(), size);
        self.index(repository)?.assign(&root, None);
        let listing = Listing { media_type: media_type.clone(), is_listed: true };
        self.hold(repository, digest, size, |held| held.manifest = Some(listing))
    }

    fn set_tag(&mut self, repository: &'a Repository, tag: &Tag, digest: &Digest) -> Result<(), LayoutError> {
        let held = self.held(repository, digest);
        let Some((held, media_type)) = held.and_then(|held| {
            let media_type = held.manifest.as_ref()?.media_type.clone();
            Some((held, media_type))
        }) else {
            let directory = self.changed(repository)?.0.folder.directory();
            let path = directory.join(oci_proto::layout::blob_path(digest));
            return Err(LayoutError::new(&path, LayoutErrorKind::Missing));
        };
        self.list(repository, digest, &held, media_type, Some(&RefName::from(tag)))
    }

    fn remove_manifest(&mut self, repository: &'a Repository, digest: &Digest) -> Result<(), LayoutError> {
        self.index(repository)?.remove(digest);
        if let Some(held) = self.held(repository, digest) {
            self.set(repository, digest, Held { manifest: None, ..held })?;
        }
        // Its children stay.
        let known: &'a Holdings = self.known;
        let known = known.get(repository).into_iter().flatten();
        let unlisted = known.filter(|(_, held)| held.manifest.as_ref().is_some_and(|it| !it.is_listed));
        for digest in unlisted.map(|(digest, _)| digest) {
            if let Some(held) = self.held(repository, digest)
                && let Some(Listing { media_type, is_listed: false }) = held.manifest.clone()
            {
                self.list(repository, digest, &held, media_type, None)?;
            }
        }
        Ok(())
    }

    /// Lists a manifest in `index.json`.
    fn list(
        &mut self,
        repository: &'a Repository,
        digest: &Digest,
        held: &Held,
        media_type: MediaType,
        name: Option<&RefName>,
    ) -> Result<(), LayoutError> {
        let root = Descriptor::new(media_type.clone(), digest.clone(), held.size);
        self.index(repository)?.assign(&root, name);
        let manifest = Some(Listing { media_type, is_listed: true });
        self.set(repository, digest, Held { manifest, ..*held })
    }

    /// Writes the new index of each repository beside, and then replaces all of them.
    fn replace_indexes(&mut self) -> Result<(), LayoutError> {
        let limit = Limits::default().layout_index_bytes;
        let mut written = Vec::new();
        for changed in self.changed.values() {
            let Some(index) = &changed.index else { continue };
            let bytes = index.to_bytes();
            if bytes.len() as u64 > limit {
                // It could not be read again.
                return Err(changed.folder.directory().wrong(INDEX, LayoutErrorKind::TooLarge(limit)));
            }
            let temporary = self.journal.temporary();
            self.journal.staging.write(&temporary, &bytes)?;
            written.push((&changed.folder, temporary));
        }
        for (folder, temporary) in written {
            folder.replace_index(&temporary, &mut self.journal)?;
        }
        Ok(())
    }

    /// What a repository has of some content.
    fn held(&self, repository: &Repository, digest: &Digest) -> Option<Held> {
        match self.changed.get(repository).and_then(|changed| changed.held.get(digest)) {
            Some(held) => held.clone(),
            None => self.known.get(repository)?.get(digest).cloned(),
        }
    }

    /// Whether a repository has content, in a file with the right size.
    fn has(&mut self, repository: &'a Repository, digest: &Digest, size: u64) -> Result<bool, LayoutError> {
        let is_held = self.held(repository, digest).is_some_and(|held| held.size == size);
        Ok(is_held && self.changed(repository)?.0.folder.has(digest, size))
    }

    fn hold(
        &mut self,
        repository: &'a Repository,
        digest: &Digest,
        size: u64,
        change: impl FnOnce(&mut Held),
    ) -> Result<(), LayoutError> {
        let held = self.held(repository, digest).filter(|held| held.size == size);
        let mut held = held.unwrap_or(Held { size, is_blob: false, manifest: None });
        change(&mut held);
        self.set(repository, digest, held)
    }

    /// Sets what a repository has of some content, which is removed if that is nothing.
    fn set(&mut self, repository: &'a Repository, digest: &Digest, held: Held) -> Result<(), LayoutError> {
        let held = Some(held).filter(|held| held.is_blob || held.manifest.is_some());
        self.changed(repository)?.0.held.insert(digest.clone(), held);
        Ok(())
    }

    /// Fails if this much more content exceeds the quota.
    fn reserve(&mut self, size: u64) -> Result<(), LayoutError> {
        self.space.reserve(size)?;
        self.reserved = self.reserved.saturating_add(size);
        Ok(())
    }

    fn index(&mut self, repository: &'a Repository) -> Result<&mut Index, LayoutError> {
        self.changed(repository)?;
        let changed = self.changed.get_mut(repository).expect("it was inserted above");
        if changed.index.is_none() {
            let files = Files::from(changed.folder.directory().clone());
            let known = self.indexes.remove(repository);
            changed.index = Some(known.map_or_else(|| read_index(&files, &Limits::default()), Ok)?);
        }
        Ok(changed.index.as_mut().expect("it was read above"))
    }

    fn changed(
        &mut self,
        repository: &'a Repository,
    ) -> Result<(&mut Changed, &mut Journal<'a>), LayoutError> {
        if !self.changed.contains_key(repository) {
            let folder = Folder::make(self.root, repository, &mut self.journal)?;
            self.changed.insert(repository, Changed { folder, held: BTreeMap::new(), index: None });
        }
        let changed = self.changed.get_mut(repository).expect("it was inserted above");
        Ok((changed, &mut self.journal))
    }
}

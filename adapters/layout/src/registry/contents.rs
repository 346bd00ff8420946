//! What a registry's directory had when it was opened.

use std::collections::BTreeMap;

use bytes::Bytes;
use oci_proto::server::{Content, Server};
use oci_proto::{Descriptor, Digest, Manifest, Repository, Tag, Time};

use crate::error::LayoutError;
use crate::registry::uploads::Unfinished;

/// What a [`RegistryDirectory`](crate::RegistryDirectory) had when it was opened.
#[derive(Debug, Default)]
pub struct RegistryContents {
    pub(super) repositories: BTreeMap<Repository, Loaded>,
    pub(super) uploads: Vec<Unfinished>,
    pub(super) warnings: Vec<LayoutError>,
}

/// What a repository has.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) manifests: Vec<(Digest, Manifest)>,
    /// Roots that are neither images nor indexes.
    pub(super) others: Vec<Descriptor>,
    pub(super) tags: BTreeMap<Digest, Vec<Tag>>,
    pub(super) blobs: Vec<(Digest, u64)>,
}

impl RegistryContents {
    /// Adds everything to a server. The uploads begin to expire `now`.
    pub fn load_into(&self, server: &mut Server, now: Time) {
        for (repository, loaded) in &self.repositories {
            for (digest, size) in &loaded.blobs {
                server.add_blob(repository, digest.clone(), *size);
            }
            for (digest, manifest) in &loaded.manifests {
                let tags = loaded.tags.get(digest).into_iter().flatten().cloned();
                server.add_manifest(repository, digest, manifest, tags);
            }
            for root in &loaded.others {
                let tags = loaded.tags.get(&root.digest).into_iter().flatten();
                let roots = tags.map(|tag| (Some(tag), root)).chain([(None, root)]);
                // It is not read, and its size was checked, so this cannot fail.
                let _ = server.add_sparse(repository, roots, &Unread(root));
            }
        }
        for Unfinished { repository, id, size } in &self.uploads {
            server.restore_upload(now, repository.clone(), id.clone(), *size);
        }
    }

    /// The repositories, whether they have anything or not.
    pub fn repositories(&self) -> impl Iterator<Item = &Repository> {
        self.repositories.keys()
    }

    /// What cannot be served: content that manifests refer to and that is missing, names that several roots have, and
    /// links and directories that are no repositories.
    pub fn warnings(&self) -> &[LayoutError] {
        &self.warnings
    }
}

/// A root that is not read.
struct Unread<'a>(&'a Descriptor);

impl Content for Unread<'_> {
    fn bytes(&self, _: &Digest) -> Option<Bytes> {
        None
    }

    fn size(&self, digest: &Digest) -> Option<u64> {
        (self.0.digest == *digest).then_some(self.0.size)
    }
}

//! A document of a tree that is sent.

use std::sync::Arc;

use crate::config::Config;
use crate::manifest::Manifest;
use crate::op::manifest_upload::ManifestUpload;
use crate::op::order::Leaf;
use crate::types::descriptor::Descriptor;
use crate::types::media_type::Kind;
use crate::types::reference::name::Tag;
use crate::wire::target::Target;

/// A document on its way to the destination.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) descriptor: Descriptor,
    pub(super) upload: ManifestUpload,
    /// Its blobs, until it is known whether the destination has the document.
    pub(super) blobs: Vec<Leaf>,
    pub(super) is_image: bool,
    /// Whether everything that it refers to is stored.
    pub(super) may_store: bool,
}

impl Document {
    pub(super) fn new(
        to: &Arc<Target>,
        descriptor: Descriptor,
        manifest: Manifest,
        tags: Vec<Tag>,
        verifies: bool,
        config: &Config,
    ) -> Self {
        let is_image = manifest.kind() == Kind::Image;
        let digest = descriptor.digest.clone();
        let upload = ManifestUpload::new(to.clone(), digest, manifest, tags, verifies, config);
        Self { descriptor, upload, blobs: Vec::new(), is_image, may_store: false }
    }
}

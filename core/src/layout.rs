//! Image layouts: the file names and documents of a directory that stores a registry's content.
//!
//! This module performs no file access: it supplies file names and parses file contents.
//! [`Walker`](crate::Walker) walks a layout as it walks a registry.
//!
//! ```text
//!   oci-layout            marks the directory as an image layout: MARKER, check_marker
//!   index.json            lists the roots, some of them tagged: Index, Entry, RefName, Root
//!   blobs/sha256/0123...  the content, by digest: blob_path
//! ```
//!
//! ```
//! use oci_proto::layout::{Index, Root, blob_path};
//! use oci_proto::{Algorithm, Descriptor, Digest, MediaType};
//!
//! let digest = Digest::of(Algorithm::Sha256, b"");
//! assert_eq!(
//!     blob_path(&digest),
//!     "blobs/sha256/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
//! );
//!
//! let mut index = Index::new();
//! let root = Descriptor::new(MediaType::OCI_MANIFEST, digest, 0);
//! index.set(&root, Some(&"1.0".parse()?));
//! let index = Index::read(index.to_bytes().into())?;
//! assert_eq!(index.find(&Root::Named("1.0".parse()?))?.descriptor(), &root);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source: image-spec, image-layout.md.

pub(crate) mod index;
pub(crate) mod marker;
pub(crate) mod ref_name;
pub(crate) mod root;

pub use crate::layout::index::{Entry, Index};
pub use crate::layout::marker::{InvalidMarker, MARKER_BYTES, check_marker, marker};
pub use crate::layout::ref_name::{InvalidRefName, RefName};
pub use crate::layout::root::{NoRoot, Root};

use crate::types::digest::Digest;

/// The file that marks a directory as a layout.
pub const MARKER: &str = "oci-layout";
/// The file that lists the roots.
pub const INDEX: &str = "index.json";
/// The directory of all content.
pub const BLOBS: &str = "blobs";

/// Returns the path of content in a layout: exactly three components, separated by slashes.
///
/// Whatever the algorithm, no part of a [`Digest`] begins with a dot or contains a slash or a
/// backslash, so no path leads out of the blob directory.
///
/// Source: image-spec, image-layout.md, "Blobs".
pub fn blob_path(digest: &Digest) -> String {
    format!("{BLOBS}/{}/{}", digest.algorithm_name(), digest.encoded())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_digest_leads_out_of_the_blob_directory() {
        let long = format!("a.b-c_d+e:{}", "=".repeat(200));
        for text in ["multihash+base58:QmRZ", "a:b", "con:nul", "x.y.z:-_=", &long] {
            let digest: Digest = text.parse().unwrap();
            let path = blob_path(&digest);
            let parts: Vec<&str> = path.split(['/', '\\', ':']).collect();
            assert_eq!(parts, ["blobs", digest.algorithm_name(), &digest.encoded()], "{text}");
            assert!(parts.iter().all(|part| !part.is_empty() && !part.starts_with('.')), "{path}");
        }
        for text in
            ["..:x", "a..b:x", "a:..", "a:../x", "../a:x", "a/b:x", "a:b/c", "a\\b:x", "a:b\\c", ".a:x"]
        {
            assert!(text.parse::<Digest>().is_err(), "{text} would lead elsewhere");
        }
    }
}

//! Image layouts on disk, read, checked and written with [`oci_proto`]'s machines: blocking, and with the
//! standard library's files alone.
//!
//! ```
//! use oci_proto_layout::oci_proto::layout::Root;
//! use oci_proto_layout::oci_proto::{Algorithm, Descriptor, Digest, MediaType, WalkOptions};
//! use oci_proto_layout::{Layout, LayoutWriter, check};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path().join("layout");
//! // A writer makes a folder a layout; content comes first, what names it after it, the root last.
//! let mut writer = LayoutWriter::open(&folder)?;
//! let document = br#"{"schemaVersion":2,"manifests":[]}"#;
//! let digest = Digest::of(Algorithm::Sha256, document);
//! let root = Descriptor::new(MediaType::OCI_INDEX, digest, document.len() as u64);
//! writer.put(&root, document)?;
//! writer.set_root(&root, Some(&"1.0".parse()?))?;
//!
//! // Whoever opens the folder then finds it.
//! let layout = Layout::open(&folder)?;
//! let nodes = layout.walk(&Root::Named("1.0".parse()?), &WalkOptions::default())?;
//! assert_eq!(nodes.collect::<Result<Vec<_>, _>>()?.len(), 1);
//! assert_eq!(check(&folder, None)?.count(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is in a layout is not trusted
//!
//! The folder is the caller's to name, links in its path included. Nothing in it is followed: a symbolic link,
//! a device or a pipe in the place of a file or a folder is an error, or a finding of a check. Content is read
//! no further than its descriptor says, and verified by its digest. Names of files are made from parsed digests,
//! of which none leads out of the folder.
//!
//! Whether a file is a link is asked before it is opened, and whether it is still the same one, after. Who can
//! replace files in between can make an open wait (by a pipe), but not pass for content: that is verified.
//!
//! # What a writer that is killed leaves behind
//!
//! Everything is written under a temporary name, in one folder of the layout, and renamed when it is whole. At
//! every moment the folder is a valid layout, or is not one yet. The next writer takes up what there is.

mod blob;
mod check;
mod error;
mod files;
mod layout;
mod mirror;
mod reference;
mod walk;
mod writer;

pub use oci_proto;

pub use blob::BlobReader;
pub use check::{Check, CheckProgress, check};
pub use error::{LayoutError, Trouble};
pub use layout::{Layout, Leftovers};
pub use mirror::{LayoutDestination, Progress, PullError};
pub use reference::{InvalidLayoutReference, LayoutReference};
pub use walk::Walk;
pub use writer::{BlobWriter, LayoutWriter};

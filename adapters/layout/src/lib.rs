//! Reads, checks and writes OCI image layouts on disk with [`oci_proto`], using blocking file I/O: in
//! directories, in archives, and for a registry.
//!
//! ```
//! use oci_proto_layout::oci_proto::layout::Root;
//! use oci_proto_layout::oci_proto::{Algorithm, Descriptor, Digest, MediaType, WalkOptions};
//! use oci_proto_layout::{Layout, LayoutWriter, check};
//!
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path().join("layout");
//! // The writer makes the directory a layout. Content comes before documents that name it, the root last.
//! let mut writer = LayoutWriter::open(&directory)?;
//! let document = br#"{"schemaVersion":2,"manifests":[]}"#;
//! let digest = Digest::of(Algorithm::Sha256, document);
//! let root = Descriptor::new(MediaType::OCI_INDEX, digest, document.len() as u64);
//! writer.put(&root, document)?;
//! writer.set_root(&root, Some(&"1.0".parse()?))?;
//!
//! // Readers now find the root.
//! let layout = Layout::open(&directory)?;
//! let nodes = layout.walk(&Root::Named("1.0".parse()?), &WalkOptions::default())?;
//! assert_eq!(nodes.collect::<Result<Vec<_>, _>>()?.len(), 1);
//! assert_eq!(check(&directory, None)?.count(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Archives
//!
//! An OCI archive is an uncompressed tar file with the files of a layout, as `skopeo copy ... oci-archive:FILE`,
//! `docker buildx build --output type=oci` and `docker save` since Docker 25 write it.
//! [`Layout::open_archive`] reads it in place, without unpacking: a [`Layout`] in an archive has the same methods
//! as one in a directory, and [`check_archive`] is its [`check()`]. [`ArchiveWriter`] writes one, in one pass.
//!
//! # Referrers
//!
//! The referrers of a document, such as signatures, are the documents whose subject it is. A layout keeps them as roots
//! without a name, beside the root that they refer to. [`Layout::referrers`] also finds them where other programs keep
//! them: as named roots, and in an index under a fallback tag. [`copy_tree`] copies them with their subjects, and
//! [`LayoutDestination`] makes those that a pull has found roots.
//!
//! # Registries
//!
//! [`RegistryDirectory`] stores what is pushed to a [server](oci_proto::server::Server): a directory of layouts, one for
//! each repository, with unfinished uploads beside them.
//!
//! ```
//! use oci_proto_layout::oci_proto::Time;
//! use oci_proto_layout::oci_proto::server::{EmbeddedRegistry, Policy, Server};
//! use oci_proto_layout::{RegistryDirectory, RegistryOptions};
//!
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let (storage, contents) = RegistryDirectory::open(directory, RegistryOptions::default())?;
//! let mut policy = Policy::open();
//! policy.reserved_components.extend(RegistryDirectory::reserved_components());
//! let mut server = Server::with_policy(policy, 1);
//! contents.load_into(&mut server, Time::ZERO);
//! let mut registry = EmbeddedRegistry::new(server, storage);
//!
//! let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
//! let push = http::Request::put("/v2/team/app/manifests/1.0").header("Host", "localhost").body(index.into())?;
//! assert_eq!(registry.respond(Time::ZERO, push).status(), 201);
//! // Other programs read it as a layout.
//! let layout = oci_proto_layout::Layout::open(directory.join("team/app"))?;
//! assert_eq!(layout.names(), [Some("1.0")]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Security
//!
//! The content of a layout is not trusted. The path of its directory is chosen by the caller and may contain
//! links. Inside the directory no link is followed: a symbolic link, device or pipe instead of a file or
//! directory is an error, or a finding of a check. Content is read only up to the size in its descriptor, and
//! verified by its digest. File names are derived from parsed digests, none of which leads out of the
//! directory.
//!
//! Others may even write to the directory at the same time. On Unix each name is opened relative to the handle
//! of its directory: a directory that is replaced by a link leads neither reads nor writes elsewhere. A partial
//! blob that is a link, or has a second name, is not written to, but replaced. (On other systems files are
//! checked before they are opened, and a process that replaces them in between can lead writes elsewhere.)
//!
//! The headers of an archive are not trusted either. Nothing is unpacked: names only lead to places in the file
//! itself. Links, sparse files and devices in place of a layout's files are errors, and any other members are
//! ignored. Headers that programs read in different ways are errors, except that of several members with one
//! name the last counts, as it does when an archive is unpacked. The number of members and the sizes of extended
//! headers are limited.
//!
//! # Interrupted writers
//!
//! In a directory, everything is written under a temporary name, in one directory of the layout, and renamed when it is
//! complete. At every moment the directory is a valid layout, or not a layout yet. The next writer resumes
//! partial blobs; anything else under the name of a partial blob is removed.
//!
//! By default, files are also synced before they are renamed, so that all of this holds for a crash of the
//! machine too. See [`Durability`].
//!
//! An archive has a temporary name beside its own until it is complete. It cannot be resumed: a writer that fails
//! or is dropped removes it, and one that is killed leaves it behind.

mod archive;
mod archive_writer;
mod blob;
mod blob_file;
mod check;
mod copy_tree;
mod destination;
mod directory;
mod error;
mod files;
mod layout;
mod positioned;
mod reference;
mod referrers;
mod registry;
mod unfinished;
mod walk;
mod work;
mod writer;

pub use oci_proto;

pub use archive::invalid::InvalidArchive;
pub use archive_writer::blob::ArchiveBlob;
pub use archive_writer::{ArchiveWriter, Existing};
pub use blob::BlobReader;
pub use blob_file::BlobFile;
pub use check::progress::CheckProgress;
pub use check::{Check, check, check_archive};
pub use copy_tree::{Copied, CopyOptions, TreeWriter, copy_tree};
pub use destination::{LayoutDestination, Progress, PullError};
pub use error::{LayoutError, LayoutErrorKind};
pub use layout::{Layout, Leftovers};
pub use reference::{ArchiveReference, InvalidLayoutReference, LayoutReference, ReferenceForm};
pub use registry::RegistryDirectory;
pub use registry::contents::RegistryContents;
pub use registry::garbage::{Collected, GarbageOptions, Removed, collect_garbage};
pub use registry::space::RegistryOptions;
pub use walk::Walk;
pub use writer::LayoutWriter;
pub use writer::blob::BlobWriter;
pub use writer::durability::Durability;

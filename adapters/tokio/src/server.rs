//! Serves registries over HTTP/1.1.
//!
//! A [`SharedRegistry`] takes pushes. Its content is in a [`Storage`](oci_proto::server::Storage), and its
//! [`Policy`](oci_proto::server::Policy) says who may do what. Here is one in memory, on a free port, as for a test:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use oci_proto_tokio::oci_proto::server::Policy;
//! use oci_proto_tokio::oci_proto::{Algorithm, Descriptor, Digest, MediaType, Reference};
//! use oci_proto_tokio::server::SharedRegistry;
//!
//! let registry = SharedRegistry::in_memory(Policy::open())?.listen().await?;
//! let repository: Reference = format!("{}/team/app", registry.address()).parse()?;
//!
//! let client = oci_proto_tokio::Client::new()?;
//! let content = b"content".as_slice();
//! let digest = Digest::of(Algorithm::Sha256, content);
//! let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest, content.len() as u64);
//! client.upload(&repository, &descriptor, content, Default::default()).await?;
//!
//! assert_eq!(client.described_blob_bytes(&repository, &descriptor, 100).await?, content);
//! # Ok(())
//! # }
//! ```
//!
//! The function [`serve`] serves the core's read-only [`Server`](oci_proto::server::Server), whose content is in any
//! [`Blobs`]:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::sync::Arc;
//! use oci_proto_tokio::oci_proto::server::{Memory, Server};
//!
//! let (memory, root) = Memory::sample();
//! let mut server = Server::new();
//! server.add(&"demo".parse()?, Some(&"latest".parse()?), &root, &memory)?;
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:5000").await?;
//! let stop = std::future::pending::<()>();
//! oci_proto_tokio::server::serve(listener, Arc::new(server), memory, stop).await?;
//! # Ok(())
//! # }
//! ```

mod access;
mod blobs;
mod body;
mod content;
#[cfg(feature = "htpasswd")]
mod htpasswd;
#[cfg(feature = "layout")]
mod layout;
mod listen;
mod local;
mod login;
mod opening;
mod options;
mod pace;
mod places;
mod read_only;
mod receive;
mod registry;
mod request_body;
mod rest;
mod shared_storage;
mod stored_blob;
mod tls;
mod visit;
mod writer;

pub use access::AccessRecord;
pub use blobs::{BlobError, Blobs, Source};
pub use body::ResponseBody;
#[cfg(feature = "htpasswd")]
pub use htpasswd::{Htpasswd, HtpasswdError, InvalidHtpasswd};
pub use local::LocalRegistry;
pub use login::Login;
pub use options::Options;
pub use read_only::serve;
pub use registry::SharedRegistry;
pub use shared_storage::SharedStorage;
pub use tls::{Identity, InvalidIdentity};

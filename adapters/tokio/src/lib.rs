//! Drives [`oci_proto`] on tokio: resolves references, reads manifests, walks index trees and fetches
//! verified blobs from OCI registries.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = oci_proto_tokio::Client::new()?;
//! let image = "registry.example/app:1.0".parse()?;
//! let platform = "linux/arm64".parse()?;
//!
//! let (descriptor, manifest) = client.manifest(&image, Some(&platform)).await?;
//! println!("{}", descriptor.digest);
//! for layer in manifest.entries() {
//!     println!("{} {}", layer.digest(), layer.size());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is cheap to clone. Its calls run at the same time over one
//! [`Session`](oci_proto::Session): they share credentials, back-off and the bounds on requests in
//! flight. This crate decides nothing about the protocol. It carries requests out and keeps time.
//!
//! # Runtime
//! Calls, streams and readers run on a tokio runtime with I/O and time enabled, and panic elsewhere. One
//! client may serve several runtimes, one after another or at once: what a runtime takes with it when it
//! shuts down counts as a broken connection, and is tried again on another.
//!
//! # Requests in flight
//! A request whose answer goes to a writer or a reader is carried by the call itself, and by nothing else:
//! a [`BlobReader`] that nobody reads, or a call of [`Client::blob_to`] that nobody polls, holds one of the
//! requests that [`Limits`](oci_proto::Limits) allow. Everything else is carried by tasks.
//!
//! # Logins
//! A registry that asks for a login gets the one that Docker or Podman keep for it, unless the client is given
//! another [`Store`](credentials::Store). Nothing is looked up before a registry asks.
//!
//! # Transport
//! The default transport, [`HyperTransport`], is hyper with rustls. Any `tower_service::Service` that takes
//! an `http::Request` can be used instead, see [`Transport`]. The session follows redirects, tries again and
//! reads error answers itself, so a transport must do none of that, nor decompress.

mod blob;
mod builder;
mod call;
mod carrying;
mod client;
mod connector;
mod driver;
mod fault;
mod hooks;
mod login;
mod mailbox;
#[cfg(feature = "pull")]
mod pull;
#[cfg(feature = "server")]
pub mod server;
mod transport;
mod walk;

pub use oci_proto;
pub use oci_proto_credentials as credentials;
#[cfg(feature = "pull")]
pub use oci_proto_layout as layout;

pub use blob::BlobReader;
pub use builder::{BuildError, Builder};
pub use client::Client;
pub use transport::{Body, BoxError, HyperTransport, Responding, Transport};
pub use walk::Walk;

//! A blocking client for OCI registries: [`oci_proto`] driven on [`ureq`].
//!
//! ```no_run
//! use oci_proto::{Reference, WalkOptions};
//! use oci_proto_ureq::Client;
//!
//! let client = Client::new()?;
//! let reference: Reference = "docker.io/library/alpine:3".parse()?;
//! for node in client.walk(&reference, WalkOptions::default()) {
//!     let node = node?;
//!     println!("{:indent$}{}", "", node.descriptor.digest, indent = 2 * node.depth as usize);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Client`] is cheap to clone, and its calls may run on several threads at once. They share one
//! [`Session`](oci_proto::Session), with its connections, tokens, back-off and limits.
//!
//! # Threads
//! A call that needs one request at a time sends it from the calling thread. If a walk sends several requests
//! at once, they run on a thread pool. A pull, a push, a copy and an upload start a thread of their own for each blob
//! that is transferred. The client starts its threads when they are first needed, up to
//! [`Limits::in_flight`](oci_proto::Limits::in_flight). They end when the last clone, [`Walk`],
//! [`BlobReader`] and [`BlobWriter`] of the client are dropped. An upload that fails or is dropped is cancelled at the
//! registry by one of them.
//!
//! # Settings
//! [`Settings`] configures credentials, proxies, certificates, timeouts and hooks.
//! [`Client::with_settings`] creates a client with them.
//!
//! # Secrets
//! No error, event or `Debug` text of this crate shows a login, a token or the values of a URL's query. ureq
//! logs every byte that it sends to the crate `log` at the level `trace`. Disable that level for the targets
//! `ureq` and `ureq_proto` if logs are stored.
//!
//! # Looking in
//! [`Client::metrics`] returns counters. With a subscriber of the `tracing` crate, a client tells what it does, with the
//! target `oci_proto`: the span `operation` of each call, named by its method, in the caller's span; in it, the span
//! `request` of each request, with its status, its bytes and the kind of its fault; the event `retry`, and the warnings of
//! registries. They contain no secrets: no headers, of URLs no values that may be secret, and of those that a server chose
//! only the host.
//!
//! # Features
//! - `pull`: pulls whole trees into image layouts on disk, and lets uploads read from layouts.
//! - `oci-spec`: converts a [`Manifest`](oci_proto::Manifest) to the typed documents of the `oci-spec` crate.

mod blob;
mod call;
mod client;
mod connecting;
mod driver;
mod exchange;
mod forward;
mod link;
mod list;
mod payload;
mod pool;
#[cfg(feature = "pull")]
mod pull;
mod reach;
mod state;
mod stream;
mod tcp;
#[cfg(test)]
mod tests;
mod threads;
mod tls;
mod transport;
mod upload;
mod walk;

pub use oci_proto;
#[doc(inline)]
pub use oci_proto_common::{
    Artifact, ArtifactTree, AttachError, BlobSource, BuildError, FileSource, ImageConfigError, Metrics,
    Notice, ProgressHook, Proxies, Settings, StreamOptions, TransferOptions, TreeSource, UploadOptions,
    UploadProgress, host_platform,
};
pub use oci_proto_credentials as credentials;
#[cfg(feature = "pull")]
pub use oci_proto_layout as layout;

pub use blob::BlobReader;
pub use client::Client;
pub use list::List;
pub use stream::BlobWriter;
pub use walk::Walk;

/// The example of the README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

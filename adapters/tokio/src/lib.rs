//! Drives [`oci_proto`] on tokio: resolves references, reads manifests, walks index trees and fetches verified blobs
//! from OCI registries, and uploads blobs, pushes trees, and copies them between registries.
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
//! A [`Client`] is cheap to clone. Its calls run concurrently and share one
//! [`Session`](oci_proto::Session), with its credentials, back-off and limits on requests in flight. All
//! protocol decisions are in [`oci_proto`]; this crate only sends requests and keeps time.
//!
//! # Runtime
//! Calls, streams and readers run on a tokio runtime with I/O and time enabled. They panic outside a runtime,
//! and fail on a runtime without I/O or time. A client may be used on several runtimes, one after another or
//! at once. If a runtime shuts down, its requests count as broken connections and are retried on another
//! runtime.
//!
//! # Requests in flight
//! If the body of a response goes to a writer or a reader, the call itself drives the request. A
//! [`BlobReader`] that is not read, or a [`Client::blob_to`] future that is not polled, therefore occupies
//! one of the requests that [`Limits`](oci_proto::Limits) allow. Spawned tasks drive all other requests. An
//! upload that is dropped is cancelled at the registry by a task, too.
//!
//! # Settings
//! [`Settings`] configures credentials, proxies, certificates, timeouts and hooks.
//! [`Client::with_settings`] creates a client with them.
//!
//! # Transport
//! The default transport, [`HyperTransport`], is hyper with rustls. Any `tower_service::Service` that takes
//! an `http::Request` can be used instead; see [`Transport`] and [`Client::with_transport`], and the example `over_reqwest`,
//! which wraps a `reqwest::Client`. The session
//! follows redirects, retries requests and reads error responses itself. A transport must do none of this,
//! and must not decompress. If a transport panics, the call fails with
//! [`FaultKind::Unsupported`](oci_proto::FaultKind::Unsupported).
//!
//! # Looking in
//! [`Client::metrics`] returns counters. With a subscriber of the `tracing` crate, a client tells what it does, with the
//! target `oci_proto`: the span `operation` of each call, named by its method, in the caller's span; in it, the span
//! `request` of each request, with its status, its bytes and the kind of its fault; the event `retry`, and the warnings of
//! registries. They contain no secrets: no headers, of URLs no values that may be secret, and of those that a server chose
//! only the host.
//!
//! # Features
//! - `http2` (default): speaks HTTP/2 with servers that offer it over TLS.
//! - `pull`: pulls whole trees into image layouts on disk, and lets uploads read from layouts.
//! - `server`: serves the registry of [`oci_proto`], also for pushes; with `layout`, it reads from image layouts on disk.
//! - `oci-spec`: converts a [`Manifest`](oci_proto::Manifest) to the typed documents of the `oci-spec` crate.

mod blob;
mod call;
mod client;
mod connector;
mod driver;
mod erased;
mod fault;
mod http2_error;
mod list;
mod logins;
mod mailbox;
mod payload;
mod pool;
#[cfg(feature = "pull")]
mod pull;
mod resolver;
#[cfg(feature = "server")]
pub mod server;
mod stream;
mod timer;
mod transfer;
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
pub use fault::BoxError;
pub use list::List;
pub use logins::async_logins;
pub use payload::Body;
pub use pool::PooledBody;
pub use stream::BlobWriter;
pub use transport::{HyperTransport, Responding, Transport};
pub use walk::Walk;

/// The example of the README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

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
//! A [`Client`] is cheap to clone, and its calls may run on several threads at once: they share one
//! [`Session`](oci_proto::Session), and with it connections, tokens, back-off and limits. A call that
//! needs one request at a time sends it from the calling thread. Where a walk asks for several at
//! once they run on threads that the client starts when they are first needed, never more than
//! [`Limits::in_flight`](oci_proto::Limits::in_flight), and that end when the client's last clone,
//! [`Walk`] and [`BlobReader`] is dropped.
//!
//! # Logins
//!
//! A registry that asks for a login gets the one that Docker or Podman keep for it, unless the client is given
//! another [`Store`](credentials::Store). Nothing is looked up before a registry asks; a look-up has a thread
//! of its own.
//!
//! No error, event or `Debug` text of this crate shows a login, a token or the values of a URL's query. ureq says
//! what it does to whoever listens by the crate `log`, and at the level `trace` that is every byte that it sends:
//! keep that level from its targets `ureq` and `ureq_proto` where logs are kept.
//!
//! # Network
//!
//! Proxies come from the environment, or from [`Builder::proxy`]: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and
//! `NO_PROXY`, or the same in lower case, read when the client is built; the schemes `http`, `https`, `socks5`
//! and `socks5h` (the proxy resolves names with either). This machine's own addresses are never reached
//! through a proxy. Every connection through an `http` or `https` proxy is a tunnel, one in plain text too.
//!
//! Certificates are verified against the roots of the system and those that were added with
//! [`Builder::add_root_certificates_pem`].

mod blob;
mod builder;
mod call;
mod client;
mod driver;
mod exchange;
mod hooks;
mod login;
mod pool;
mod proxy;
#[cfg(feature = "pull")]
mod pull;
mod state;
mod transport;
mod walk;

pub use oci_proto;
pub use oci_proto_credentials as credentials;
#[cfg(feature = "pull")]
pub use oci_proto_layout as layout;

pub use blob::BlobReader;
pub use builder::{BuildError, Builder};
pub use client::Client;
pub use walk::Walk;

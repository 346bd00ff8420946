//! Settings, proxies, certificates, login lookups and sources of content, shared by the clients of [`oci_proto`].
//!
//! Programs depend on a client, `oci-proto-tokio` or `oci-proto-ureq`, which re-exports [`Settings`],
//! [`Proxies`], [`Notice`], [`BuildError`], and what uploads need: [`BlobSource`], [`TreeSource`], [`FileSource`], [`Artifact`],
//! [`UploadOptions`], [`StreamOptions`], [`TransferOptions`], [`UploadProgress`]:
//!
//! ```
//! use std::time::Duration;
//!
//! use oci_proto_common::Settings;
//!
//! let settings = Settings::default()
//!     .timeout(Duration::from_secs(60))
//!     .proxy(Some("http://proxy.example:3128"))?
//!     .on_notice(|notice| eprintln!("warning: {notice}"));
//! # Ok::<(), oci_proto_common::BuildError>(())
//! ```
//!
//! The rest is for authors of clients. A client builds its transport from [`Settings::network`], takes the
//! other parts from [`Settings::into_parts`], and answers the session's queries for logins with [`look_up`]
//! and [`end_look_ups`]. Uploads read from a [`PayloadSource`] or a
//! [`ChunkBuffer`], and those of a copy from the pipes in [`Pairs`].
//!
//! # Features
//! - `layout`: image layouts on disk are a [`TreeSource`].

mod artifact;
mod awaited;
mod backlog;
mod certificate_directories;
mod client_certificate;
mod error;
mod hooks;
mod image_config;
#[cfg(feature = "layout")]
mod layout;
mod login;
mod monitor;
mod no_proxy;
mod notice;
mod pairs;
mod progress;
mod proxies;
mod proxy;
mod registries_conf;
mod roots;
mod sending;
mod server_name;
mod settings;
mod source;
mod this_machine;
mod times;
mod tls;
mod tls_error;
mod verifier;

pub use artifact::{Artifact, ArtifactTree, AttachError};
pub use awaited::Awaited;
pub use backlog::Backlog;
pub use error::BuildError;
pub use hooks::Hooks;
pub use image_config::{ImageConfigError, MAX_CONFIG_LEN, config_of};
pub use login::{end_look_ups, look_up};
pub use monitor::{Metrics, Monitor, OperationSpan, RequestSpan};
pub use notice::Notice;
pub use pairs::Pairs;
pub use progress::{ProgressHook, StreamOptions, TransferOptions, UploadOptions, UploadProgress};
pub use proxies::{Proxies, Route};
pub use proxy::{Proxy, ProxyLogin, ProxyProtocol};
pub use sending::{ChunkBuffer, OneBlob, PayloadSource, Sent, SentCounter, answer_from};
pub use settings::{Network, Parts, Settings};
pub use source::{BlobSource, FileSource, TreeSource};
pub use this_machine::{host_platform, loopback_addresses};
pub use times::{DRAINING, IDLE_CONNECTION, LONGEST_TIMEOUT};
pub use tls::{ServerTls, Trust};
pub use tls_error::tls_message;

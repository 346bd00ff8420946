//! A registry as a state machine.
//!
//! A [`Server`] stores repositories, their tags and manifests, the sizes of their blobs, and open uploads. It performs
//! no I/O: the bytes of blobs stay in the storage of an adapter.
//!
//! - [`Server::respond`] answers a request that reads. [`Body::Blob`] tells the adapter which bytes to send.
//! - [`Server::begin`] begins the answer to any request. If its body matters, an [`Incoming`] takes it, and says where
//!   its bytes are written; [`Server::finish`] then has the [`Reply`].
//! - A [`Reply`] has the [`Effect`]s that the adapter carries out and makes durable, before it sends the response and
//!   calls [`Server::commit`].
//!
//! A server is read-only unless its [`Policy`] permits more. It implements all endpoints of the distribution
//! specification, with `tag`, `digest-algorithm` and the cancellation of uploads from its main branch, and the list of
//! repositories of Docker's registry API.
//!
//! Here is a push and a pull:
//!
//! ```
//! use std::collections::BTreeMap;
//! use http::request::Parts;
//! use oci_proto::Time;
//! use oci_proto::server::{Begun, Body, Effect, Policy, Server};
//!
//! fn request(method: &str, target: &str) -> Parts {
//!     let request = http::Request::builder().method(method).uri(target).header("Host", "localhost");
//!     request.body(()).unwrap().into_parts().0
//! }
//!
//! let now = Time::ZERO;
//! let mut server = Server::with_policy(Policy::open(), 1);
//! let mut storage = BTreeMap::new();
//!
//! let digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
//! let push = request("POST", &format!("/v2/demo/blobs/uploads/?digest={digest}"));
//! let Begun::Receive(mut body) = server.begin(now, &push) else { panic!("the body matters") };
//! let (upload, _) = body.place().unwrap();
//! storage.insert(upload.to_string(), "test");
//! body.push(b"test")?;
//! let answer = server.finish(now, body);
//! let (_, effects) = answer.effects().unwrap();
//! if let [Effect::Commit { upload, digest, .. }] = effects {
//!     let bytes = storage.remove(upload.as_str()).unwrap();
//!     storage.insert(digest.to_string(), bytes);
//! }
//! server.commit(&answer);
//! assert_eq!(answer.done().status(), 201);
//!
//! let pull = server.respond(&request("GET", &format!("/v2/demo/blobs/{digest}")));
//! assert_eq!(pull.status(), 200);
//! let Body::Blob { digest, range } = pull.body() else { panic!("it is in the storage") };
//! assert_eq!((storage[&digest.to_string()], range), ("test", &(0..4)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Source: distribution-spec 1.1, "Endpoints".

pub(crate) mod add;
pub(crate) mod begin;
pub(crate) mod blob_push;
pub(crate) mod body;
pub(crate) mod content;
pub(crate) mod delete;
pub(crate) mod effect;
pub(crate) mod embedded;
pub(crate) mod error_response;
pub(crate) mod holdings;
pub(crate) mod incoming;
pub(crate) mod machine;
pub(crate) mod manifest_push;
pub(crate) mod memory;
pub(crate) mod policy;
pub(crate) mod precondition;
pub(crate) mod respond;
pub(crate) mod response;
pub(crate) mod state;
pub(crate) mod storage;
#[cfg(test)]
mod tests;
pub(crate) mod upload;
pub(crate) mod web_page;

pub use crate::server::add::{AddError, AddProblem};
pub use crate::server::begin::Begun;
pub use crate::server::body::{Body, Unavailable};
pub use crate::server::content::Content;
pub use crate::server::effect::{Effect, Failure, Reply};
pub use crate::server::embedded::EmbeddedRegistry;
pub use crate::server::incoming::{BodyTooLarge, Incoming};
pub use crate::server::machine::Server;
pub use crate::server::memory::{Flavour, Memory};
pub use crate::server::policy::{InvalidUser, Policy, Rule, User, Who};
pub use crate::server::storage::{MemoryStorage, Storage};
pub use crate::types::upload_id::{InvalidUploadId, UploadId};

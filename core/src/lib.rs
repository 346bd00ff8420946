//! The OCI distribution protocol as a state machine that performs no I/O.
pub mod header;
pub mod server;

mod config;
mod descriptor;
mod digest;
mod error;
mod exchange;
mod limits;
mod manifest;
mod media_type;
mod op;
mod origin;
mod platform;
mod reference;
mod reply;
mod request;
mod session;
mod time;
mod tree;

pub use config::{Config, PlainHttp};
pub use descriptor::Descriptor;
pub use digest::{Algorithm, Digest, Hasher, InvalidDigest};
pub use error::{Cause, Error, Exceeded, Impossible, Misbehaviour, Refusal, RegistryError};
pub use exchange::{
    Awaiting, Completion, Exchange, ExchangeId, Fault, FaultKind, Payload, Receiving, Refused, Sink,
};
pub use limits::Limits;
pub use manifest::{DescriptorRef, Evidence, InvalidManifest, Manifest};
pub use media_type::{InvalidMediaType, Kind, MediaType};
pub use platform::{InvalidPlatform, Platform, Rank};
pub use reference::{InvalidReference, Reference, Registry, Repository, Tag};
pub use session::{Event, OpId, Output, Session};
pub use time::Time;
pub use tree::{Found, Node, Step, Ticket, Tree, WalkOptions, Wanted};

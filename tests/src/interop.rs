//! Programs that others wrote, to meet on loopback: docker-registry, skopeo and umoci; and servers that make
//! trouble.
//!
//! A test asks for the programs that it needs ([`Program::find`]) and is skipped, loudly, where one is missing.
//! Under `CI=true` that is a failure instead.

mod built;
mod docker_registry;
mod front;
mod host;
mod jwt;
mod listing;

mod program;
mod push;
mod sample;
mod served;
mod token_server;

pub use crate::wire::Reply;
pub use built::{example, ocip};
pub use docker_registry::{DockerRegistry, Settings};
pub use front::{Door, Front, Seen, Trouble};
pub use host::{Asked, Host};
pub use listing::{document, line, listing};

pub use program::Program;
pub use push::Pusher;
pub use sample::{Sample, flat};
pub use served::Served;
pub use token_server::{Rules, TokenRequest, TokenServer, Who};

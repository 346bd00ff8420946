//! External programs on loopback (docker-registry, skopeo, umoci), and unreliable servers.
//!
//! A test looks for the programs that it needs ([`Program::find`]). If one is missing, the test is skipped
//! with a message, or fails under `CI=true`.

pub(crate) mod built;
pub(crate) mod docker_registry;
pub(crate) mod host;
pub(crate) mod jwt;
pub(crate) mod listing;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod push;
pub(crate) mod sample;
pub(crate) mod served;
pub(crate) mod token_server;
pub(crate) mod uploads;

pub use crate::wire::Reply;
pub use built::{example, ocip};
pub use docker_registry::{DockerRegistry, Settings};
pub use host::{Asked, Host};
pub use listing::{document, line, listing};
pub use program::Program;
pub use proxy::disruption::{Disruption, Port};
pub use proxy::{Proxy, Seen};
pub use push::Pusher;
pub use sample::{Sample, flat};
pub use served::Served;
pub use token_server::TokenServer;
pub use token_server::issuer::{Requester, Rules, TokenRequest};
pub use uploads::{Fate, UploadRegistry};

//! Programs that others wrote, to meet on loopback: docker-registry, skopeo and umoci.
//!
//! A test asks for the programs that it needs ([`Program::find`]) and is skipped, loudly, where one is missing.
//! Under `CI=true` that is a failure instead.

mod built;
mod docker_registry;
mod listing;

mod program;
mod push;
mod recorder;
mod sample;
mod served;

pub use built::{example, ocip};
pub use docker_registry::{DockerRegistry, Settings};
pub use listing::{document, line, listing};

pub use program::Program;
pub use push::Pusher;
pub use recorder::Recorder;
pub use sample::{Sample, flat};
pub use served::Served;

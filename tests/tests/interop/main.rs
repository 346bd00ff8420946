//! Others' programs against ours: both adapters and `ocip` read from docker-registry, skopeo reads from the core's
//! registry, and layouts go between us, skopeo and umoci.

mod docker_registry;
mod layouts;
mod login;
mod pull;
mod skopeo;
mod support;
mod tls;
mod unreliable;

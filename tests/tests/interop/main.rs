//! Others' programs against ours: both adapters and `ocip` read from docker-registry, and skopeo reads from the
//! core's registry.

mod docker_registry;
mod skopeo;

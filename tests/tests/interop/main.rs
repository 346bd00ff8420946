//! Interoperability with other programs: both adapters and `ocip` read from docker-registry and write to it, skopeo
//! reads from the core's registry and pushes to it, layouts are exchanged with skopeo and umoci, and archives with
//! skopeo and tar.

mod archives;
mod docker_registry;
mod layouts;
mod lists;
mod login;
mod pull;
mod push;
mod registry;
mod skopeo;
mod support;
mod tls;
mod unreliable;
mod uploads;
mod writing;

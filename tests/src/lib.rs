//! What crosses the crates of oci-proto: transcripts, interoperation, benchmarks.

pub mod bodies;
pub mod bodies_server;
pub mod interop;
pub mod transcript;

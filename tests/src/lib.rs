//! What crosses the crates of oci-proto: transcripts, interoperation, benchmarks.

pub mod adapter;
pub mod bodies;
pub mod bodies_server;
pub mod internet;
pub mod interop;
pub mod simulation;
pub mod transcript;

//! What crosses the crates of oci-proto: transcripts, interoperation, benchmarks.

#[cfg(feature = "network")]
pub mod adapter;
pub mod bodies;
#[cfg(feature = "network")]
pub mod internet;
#[cfg(feature = "network")]
pub mod interop;
pub mod simulation;
pub mod transcript;
#[cfg(feature = "network")]
mod wire;

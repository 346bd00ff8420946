//! Tests across the crates of oci-proto: transcripts, simulation, interoperability, benchmarks.

#[cfg(feature = "network")]
pub mod adapter;
#[cfg(feature = "arrows")]
pub mod arrows;
pub mod bodies;
#[cfg(feature = "network")]
pub mod clients;
#[cfg(feature = "network")]
pub mod internet;
#[cfg(feature = "network")]
pub mod interop;
pub mod simulation;
pub mod transcript;
#[cfg(feature = "network")]
mod wire;
pub mod writable;

//! What crosses the crates of oci-proto: transcripts, interoperation, benchmarks.

pub mod transcript;

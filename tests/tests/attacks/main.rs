//! Attacks on memory and time, measured: each ends with an error or a result that is right, after a bounded number
//! of steps, within a bounded amount of memory.
//!
//! The table of `SECURITY.md` is what `cargo test --release -p oci-proto-tests --test attacks -- --nocapture` prints.

mod documents;
#[path = "../bad_input/drive.rs"]
mod drive;
mod headers;
mod indexes;
mod measure;
mod network;
mod server;
mod streams;
mod tokens;

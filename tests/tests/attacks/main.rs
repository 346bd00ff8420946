//! Attacks on memory and time, measured: each ends with an error or a correct result, after a bounded number
//! of steps, in bounded memory.
//!
//! `cargo test --release -p oci-proto-tests --test attacks -- --nocapture` prints the table of `SECURITY.md`.

mod documents;
#[path = "../bad_input/drive.rs"]
mod drive;
mod headers;
mod indexes;
mod lists;
mod measure;
mod network;
mod registry;
mod sending;
mod server;
mod streams;
mod tokens;
mod uploads;

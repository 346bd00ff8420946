//! Input that could exhaust resources: each ends soon, in little memory, with an error that names the cause.
//!
//! The tests count requests and bytes read, from which time and memory follow.

mod chains;
mod documents;
mod drive;
mod endless;
mod headers;
mod lists;
mod registries;

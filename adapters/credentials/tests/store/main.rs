//! Lookups in files and helpers that the tests write.
#![cfg(unix)]

mod asked;
mod edits;
mod entries;
mod files;
mod helper_failures;
mod helpers;
mod locations;
mod secrets;
mod support;

//! Logins looked up in files and helpers that the tests write.
#![cfg(unix)]

mod entries;
mod files;
mod helpers;
mod places;
mod secrets;
mod support;
mod trouble;

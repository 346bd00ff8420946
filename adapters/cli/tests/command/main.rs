//! The real binary against registries on loopback.

mod demo;
mod failures;
mod login;
mod mistakes;
mod results;
mod support;

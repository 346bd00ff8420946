//! The `ocip` binary, run against registries on loopback.

mod check;
mod demo;
mod failures;
mod layouts;
mod login;
mod mistakes;
mod notices;
mod pull;
mod results;
mod support;

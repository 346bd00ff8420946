//! The `ocip` binary, run against registries on loopback.

mod all_tags;
mod check;
mod copied_referrers;
mod demo;
mod failures;
mod gc;
mod layouts;
mod lists;
mod login;
mod mistakes;
mod names;
mod notices;
#[cfg(target_os = "linux")]
mod power;
mod pull;
mod recording;
mod registries_conf;
mod results;
mod serving;
mod support;
#[cfg(target_os = "linux")]
mod terminal;
mod writing;

//! Measures both adapters against other clients, lower bounds, and targets.
//!
//! `cargo bench -p oci-proto-tests --features benchmark --bench registries` runs everything; words after `--`
//! select workloads. README.md beside this file describes the measurements, and has a record.
//!
//! Every client runs in its own process, which is skopeo or this program with hidden arguments ([`child`]).
//! So do our servers and docker-registry, so that the figures are those of the client alone.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints its results")]

mod child;
mod content;
mod core_alone;
mod counterpart;
mod distant;
mod fallible;
mod report;
mod run;
mod serve;
mod sink;
mod task;
mod workloads;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    // cargo passes `--bench` to every benchmark.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let outcome = match words.split_first() {
        Some((first, rest)) if first == task::WORD => child::main(rest),
        _ => workloads::run(&words),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("registries: {error}");
            ExitCode::FAILURE
        }
    }
}

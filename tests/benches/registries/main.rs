//! Measures both adapters against other clients, against floors, and against what they have to reach.
//!
//! `cargo bench -p oci-proto-tests --features benchmark --bench registries` runs everything; words after `--` choose
//! workloads. README.md, beside this file, says what is measured, and keeps a record.
//!
//! Every client runs in a process of its own, which is this program again with hidden arguments ([`child`]), or
//! skopeo. So do our own servers and docker-registry: what is measured is the client alone.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark says what it found")]

mod child;
mod content;
mod core_alone;
mod counterpart;
mod report;
mod run;
mod serve;
mod workloads;

use std::env;
use std::error::Error;
use std::process::ExitCode;

/// The outcome of anything here: what fails ends the program, which says why.
type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    // cargo says `--bench` to every benchmark.
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let outcome = match words.split_first() {
        Some((first, rest)) if first == child::WORD => child::main(rest),
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

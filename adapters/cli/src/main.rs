//! The command `ocip`: reads, copies, checks and serves content of container registries and image layouts.

mod args;
mod arguments;
mod client;
mod commands;
mod content_source;
mod embedded_registry;
mod hint;
mod login;
mod notices;
mod output;
mod signals;
mod stderr;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::Cli::read();
    match commands::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

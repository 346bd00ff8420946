//! The command `ocip`: resolves references and walks index trees in container registries and
//! image layouts.

mod args;
mod client;
mod commands;
mod hint;
mod login;
mod output;
mod registry;
mod source;
mod stderr;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = args::Cli::read();
    match commands::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

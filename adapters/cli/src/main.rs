//! The command `ocip`: reads, copies, pushes, checks and serves content of container registries and image layouts.

mod args;
mod arguments;
mod client;
mod commands;
mod concern;
mod content_source;
mod copy_end;
mod embedded_registry;
mod hint;
mod interrupt;
mod login;
mod notices;
mod output;
mod prompt;
mod recording;
mod settings;
mod signals;
mod stderr;
mod temporary;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match args::command_line::read() {
        Ok(cli) => cli,
        Err(status) => return status,
    };
    let mut result = commands::run(&cli);
    if let Some(recording) = &cli.common.recording {
        result = recording.end(result);
    }
    // The command may have failed because a signal is ending it.
    signals::wait_if_ending();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

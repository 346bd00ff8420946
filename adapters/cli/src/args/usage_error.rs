//! Usage errors and help, as clap reports them.

use std::error::Error as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::ContextKind;

use crate::output::Failure;
use crate::stderr::print_line;

/// Prints help or a usage error, and returns the exit status.
pub(super) fn print(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if !error.use_stderr() {
        let mut out = io::stdout().lock();
        return match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => Failure::from(error).report(),
        };
    }
    // The text quotes arguments.
    for line in once(error, text).lines() {
        print_line(format_args!("{line}"));
    }
    ExitCode::from(2)
}

/// Removes the value from the beginning of a text that quotes it again.
fn once(error: &clap::Error, text: String) -> String {
    let quotes = error.source().is_some_and(|source| source.to_string().starts_with('`'));
    match error.get(ContextKind::InvalidValue) {
        Some(value) if quotes => {
            text.replacen(&format!("invalid value '{value}' for"), "invalid value for", 1)
        }
        _ => text,
    }
}

//! Parsing the command line.

use std::env;
use std::ffi::OsString;
use std::iter;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args as _, CommandFactory as _, FromArgMatches as _};

use crate::args::mistake::Mistake;
use crate::args::{Cli, Command, CommonArgs, usage_error};
use crate::output::Failure;
use crate::recording::Recording;

/// Parses the command line. Prints a usage error or help, and returns the exit status. A command to record takes
/// the place of `ocip record`.
pub(crate) fn read() -> Result<Cli, ExitCode> {
    let (cli, misplaced) = parse_from(env::args_os())?;
    let Command::Record(record) = &cli.command else { return Ok(cli) };
    let report = |mistake: &Mistake| Failure::from(mistake).report();
    if let Some(option) = misplaced {
        let mistake = Mistake::new(format!("`--{option}` is not an option of `ocip record`"));
        return Err(report(&mistake.with_hint("write it after `--`, with the command to record")));
    }
    let words = record.words().map_err(|mistake| report(&mistake))?;
    let (mut recorded, _) = parse_from(iter::once("ocip".into()).chain(words.iter().cloned()))?;
    check_recorded(&recorded.command).map_err(|mistake| report(&mistake))?;
    let recording = Recording::create(&record.file, record.bodies).map_err(|failure| failure.report())?;
    recorded.common.recording = Some(recording);
    Ok(recorded)
}

/// Parses these words. Returns also the name of a common option that is given to `ocip record` itself.
fn parse_from(words: impl IntoIterator<Item = OsString>) -> Result<(Cli, Option<String>), ExitCode> {
    let matches = definition().try_get_matches_from(words).map_err(|error| usage_error::print(&error))?;
    let misplaced = matches.subcommand_matches("record").and_then(misplaced);
    let cli = Cli::from_arg_matches(&matches).map_err(|error| usage_error::print(&error))?;
    Ok((cli, misplaced))
}

/// The commands and options, as help shows them.
pub(crate) fn definition() -> clap::Command {
    let mut command = Cli::command();
    // Propagates the global options to each subcommand.
    command.build();
    for name in ["serve", "gc", "completions", "generate", "replay"] {
        command = command.mut_subcommand(name, |command| command.mut_args(hide_connection_option));
    }
    // The command that is recorded has its own.
    command = command.mut_subcommand("record", |command| {
        command.mut_args(|option| {
            let is_common = option.is_global_set();
            option.hide(is_common)
        })
    });
    // It contacts no registry, but changes the file.
    command =
        command.mut_subcommand("logout", |command| {
            command.mut_args(|option| {
                if option.get_id() == "auth_file" { option } else { hide_connection_option(option) }
            })
        });
    command
}

/// Returns the name of a common option that is given to `ocip record` itself.
fn misplaced(record: &ArgMatches) -> Option<String> {
    let common = CommonArgs::augment_args(clap::Command::new(""));
    let mut options = common.get_arguments().filter(|option| option.is_global_set());
    let is_given =
        |option: &&Arg| record.value_source(option.get_id().as_str()) == Some(ValueSource::CommandLine);
    options.find(is_given)?.get_long().map(str::to_owned)
}

/// Checks that a command can be recorded.
fn check_recorded(command: &Command) -> Result<(), Mistake> {
    let (name, why) = match command {
        Command::Record(_) => ("record", "records another command"),
        Command::Replay(_) => ("replay", "contacts no registry"),
        Command::Serve(_) => ("serve", "contacts no registry; record the command of a client"),
        Command::Gc(_) => ("gc", "contacts no registry"),
        Command::Logout(_) => ("logout", "contacts no registry"),
        Command::Completions(_) => ("completions", "contacts no registry"),
        Command::Generate(_) => ("generate", "contacts no registry"),
        Command::Demo(_) => ("demo", "contacts only registries of its own"),
        Command::Resolve(_)
        | Command::Manifest(_)
        | Command::Tree(_)
        | Command::Blob(_)
        | Command::Pull(_)
        | Command::Check(_)
        | Command::Tags(_)
        | Command::Referrers(_)
        | Command::Delete(_)
        | Command::Config(_)
        | Command::Copy(_)
        | Command::Push(_)
        | Command::Tag(_)
        | Command::Attach(_)
        | Command::Artifact(_)
        | Command::Login(_) => return Ok(()),
    };
    Err(Mistake::new(format!("`ocip {name}` cannot be recorded: it {why}")))
}

/// Hides the connection and login options, which a command accepts even if it contacts no registry.
fn hide_connection_option(option: Arg) -> Arg {
    let has_heading = option.get_help_heading().is_some();
    option.hide(has_heading)
}

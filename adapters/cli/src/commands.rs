//! The commands, one file each.

mod blob;
mod check;
mod completions;
mod demo;
mod leftovers;
mod manifest;
mod pull;
mod resolve;
mod serve;
mod tree;

use crate::args::reference::AnyReference;
use crate::args::{Cli, Command, CommonArgs};
use crate::content_source::ContentSource;
use crate::output::Failure;
use crate::terminal::Stdout;

pub(crate) fn run(cli: &Cli) -> Result<(), Failure> {
    let common = &cli.common;
    let raw = match &cli.command {
        Command::Manifest(command) => command.raw,
        Command::Blob(command) => command.raw,
        _ => false,
    };
    let out = &mut Stdout::lock(raw);
    match &cli.command {
        Command::Resolve(command) => {
            ask(&command.asked.name, common, |source| resolve::run(command, source, out))
        }
        Command::Manifest(command) => {
            ask(&command.asked.name, common, |source| manifest::run(command, source, out))
        }
        Command::Tree(command) => {
            ask(&command.asked.name, common, |source| tree::run(command, common, source, out))
        }
        Command::Blob(command) => {
            ask(&command.name, common, |source| blob::run(command, common, source, out))
        }
        Command::Pull(command) => pull::run(command, common, out),
        Command::Check(command) => check::run(command, common, out),
        Command::Serve(command) => serve::run(command, common, out),
        Command::Demo(command) => demo::run(command, common, out),
        Command::Completions(command) => completions::run(command, out),
    }
}

fn ask(
    name: &AnyReference,
    common: &CommonArgs,
    command: impl FnOnce(&ContentSource<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let source = ContentSource::open(name, common)?;
    let result = command(&source);
    match name {
        AnyReference::Registry(_) => {
            common.detail(format_args!("{}: {}", common.adapter.as_str(), source.spent()));
        }
        AnyReference::Layout(_) => common.detail(format_args!("layout: {}", source.spent())),
    }
    source.close();
    result
}

//! The commands, one file each.

mod all_tags;
mod artifact;
mod bar;
mod blob;
mod check;
mod completions;
mod config;
mod copy;
mod delete;
mod demo;
mod gc;
mod generate;
mod leftovers;
mod login;
mod manifest;
mod pull;
mod referrers;
mod replay;
mod resolve;
mod sending;
mod serve;
mod skipped;
mod tag;
mod tags;
mod tree;

use crate::args::reference::AnyReference;
use crate::args::{Cli, Command, CommonArgs};
use crate::client::with_client;
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
        Command::Pull(command) if command.selection.all_tags => all_tags::pull(command, common, out),
        Command::Pull(command) => pull::run(command, common, out),
        Command::Check(command) => check::run(command, common, out),
        Command::Tags(command) => {
            with_client(command.name.registry(), common, |client| tags::run(command, common, client, out))
        }
        Command::Referrers(command) => with_client(command.name.registry(), common, |client| {
            referrers::run(command, common, client, out)
        }),
        Command::Delete(command) => {
            with_client(command.name.registry(), common, |client| delete::run(command, common, client))
        }
        Command::Config(command) => {
            ask(&command.asked.name, common, |source| config::run(command, source, out))
        }
        Command::Copy(command) if command.options.selection.all_tags => all_tags::copy(command, common, out),
        Command::Copy(command) => copy::run(command, common, out),
        Command::Push(command) if command.options.selection.all_tags => all_tags::push(command, common, out),
        Command::Push(command) => copy::run_push(command, common, out),
        Command::Tag(command) => {
            with_client(command.name.registry(), common, |client| tag::run(command, common, client))
        }
        Command::Attach(command) => artifact::attach(command, common, out),
        Command::Artifact(command) => artifact::run(command, common, out),
        Command::Login(command) => login::run(command, common),
        Command::Logout(command) => login::log_out(command, common),
        Command::Serve(command) => serve::run(command, common, out),
        Command::Gc(command) => gc::run(command, common, out),
        // Parsing replaces it with the command to record.
        Command::Record(_) => Ok(()),
        Command::Replay(command) => replay::run(command, out),
        Command::Demo(command) => demo::run(command, common, out),
        Command::Completions(command) => completions::run(command, out),
        Command::Generate(command) => generate::run(command, common),
    }
}

fn ask(
    name: &AnyReference,
    common: &CommonArgs,
    command: impl FnOnce(&ContentSource<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let source = ContentSource::open(name, common)?;
    let result = command(&source);
    source.tell_details(common);
    source.close();
    result
}

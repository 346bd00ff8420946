//! The commands, one file each.

mod blob;
mod check;
mod completions;
mod demo;
mod manifest;
mod pull;
mod resolve;
mod serve;
mod tree;

use std::io;

use indicatif::DecimalBytes;
use oci_proto_layout::{Layout, Leftovers};

use crate::args::{Cli, Command, Common, Name};
use crate::output::{Failure, count};
use crate::source::Source;

pub(crate) fn run(cli: &Cli) -> Result<(), Failure> {
    let common = &cli.common;
    let out = &mut io::stdout().lock();
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
    name: &Name,
    common: &Common,
    command: impl FnOnce(&Source<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let source = Source::open(name, common)?;
    let result = command(&source);
    match name {
        Name::Registry(_) => common.detail(format_args!("{}: {}", common.adapter.as_str(), source.spent())),
        Name::Layout(_) => common.detail(format_args!("layout: {}", source.spent())),
    }
    source.close();
    result
}

/// Says what interrupted pulls have left, which nobody else removes.
fn note_leftovers(layout: &Layout, common: &Common) {
    let Leftovers { blobs, bytes, folder, .. } = layout.leftovers();
    if blobs > 0 {
        common.note(format_args!(
            "{} of interrupted pulls, {}, in {}: the same pull goes on with what is there",
            count(blobs, "partial blob"),
            DecimalBytes(bytes),
            folder.display(),
        ));
    }
}

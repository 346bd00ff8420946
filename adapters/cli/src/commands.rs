//! The commands, one file each.

mod blob;
mod completions;
mod demo;
mod manifest;
mod resolve;
mod tree;

use std::io;

use oci_proto::Reference;

use crate::args::{Cli, Command, Common};
use crate::client::Client;
use crate::output::Failure;

pub(crate) fn run(cli: &Cli) -> Result<(), Failure> {
    let common = &cli.common;
    let out = &mut io::stdout().lock();
    match &cli.command {
        Command::Resolve(command) => {
            ask(common, &command.asked.reference, |client| resolve::run(command, client, out))
        }
        Command::Manifest(command) => {
            ask(common, &command.asked.reference, |client| manifest::run(command, client, out))
        }
        Command::Tree(command) => {
            ask(common, &command.asked.reference, |client| tree::run(command, common, client, out))
        }
        Command::Blob(command) => {
            ask(common, &command.name, |client| blob::run(command, common, client, out))
        }
        Command::Demo(command) => demo::run(command, common, out),
        Command::Completions(command) => completions::run(command, out),
    }
}

fn ask(
    common: &Common,
    name: &Reference,
    command: impl FnOnce(&Client) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let client = Client::new(common.adapter, common, common.login.store(name.registry())?)?;
    let result = command(&client);
    common.detail(format_args!("{}: {}", common.adapter.as_str(), client.spent()));
    client.close();
    result
}

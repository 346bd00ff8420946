//! `ocip delete`.

use crate::args::CommonArgs;
use crate::args::registry::DeleteArgs;
use crate::client::Client;
use crate::output::Failure;

pub(crate) fn run(command: &DeleteArgs, common: &CommonArgs, client: &Client) -> Result<(), Failure> {
    client.delete(&command.name, command.blob)?;
    let what = match command.name.digest() {
        Some(_) if command.blob => "blob",
        Some(_) => "manifest",
        None => "tag",
    };
    common.note(format_args!("deleted the {what} {}", command.name));
    Ok(())
}

//! `ocip tag`.

use crate::args::CommonArgs;
use crate::args::writing::TagArgs;
use crate::client::Client;
use crate::output::{Failure, count};

pub(crate) fn run(command: &TagArgs, common: &CommonArgs, client: &Client) -> Result<(), Failure> {
    let TagArgs { name, tags } = command;
    let root = client.tag(name, tags.clone())?;
    common.note(format_args!("{} of {}", count(tags.len() as u64, "tag"), name.at(root.digest)));
    Ok(())
}

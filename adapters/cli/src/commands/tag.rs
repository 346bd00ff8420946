//! `ocip tag`.

use oci_proto::Tag;

use crate::args::CommonArgs;
use crate::args::writing::TagArgs;
use crate::client::Client;
use crate::output::Failure;

pub(crate) fn run(command: &TagArgs, common: &CommonArgs, client: &Client) -> Result<(), Failure> {
    let TagArgs { name, tags } = command;
    let root = client.tag(name, tags.clone())?;
    let tags: Vec<&str> = tags.iter().map(Tag::as_str).collect();
    common.note(format_args!("tagged {} as {}", name.at(root.digest), tags.join(", ")));
    Ok(())
}

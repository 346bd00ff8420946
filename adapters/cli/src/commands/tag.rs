//! `ocip tag`.

use crate::args::CommonArgs;
use crate::args::writing::TagArgs;
use crate::client::Client;
use crate::output::{Failure, count};

pub(crate) fn run(command: &TagArgs, common: &CommonArgs) -> Result<(), Failure> {
    let name = &command.name;
    let client = Client::new(common.adapter, common, common.login.store(name.registry())?)?;
    let tagged = client.tag(name, command.tags.clone());
    let spent = client.spent();
    client.close();
    let root = tagged?;
    common.note(format_args!("{} of {}", count(command.tags.len() as u64, "tag"), name.at(root.digest)));
    common.detail(format_args!("{}: {spent}", common.adapter.as_str()));
    Ok(())
}

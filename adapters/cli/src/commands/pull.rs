//! `ocip pull`.

mod progress;

use std::io::Write;
use std::sync::Arc;

use indicatif::DecimalBytes;
use oci_proto::PullOptions;
use oci_proto_layout::{Layout, LayoutDestination, LayoutWriter};

use super::{note_leftovers, resolve};
use crate::args::{Common, Name, Pull};
use crate::client::Client;
use crate::output::{Failure, count};
use progress::Board;

pub(crate) fn run(command: &Pull, common: &Common, out: &mut impl Write) -> Result<(), Failure> {
    let Name::Registry(name) = &command.name else {
        return Err(Failure::usage("pull takes from a registry, and this is an image layout")
            .with_hint("a layout is copied as any folder is, for example with `cp -r`"));
    };
    let store = common.login.store(name.registry())?;
    let client = Client::new(common.adapter, common, store)?;
    let writer = LayoutWriter::open(&command.folder).map_err(|error| Failure::of_layout(&error))?;
    let board = Arc::new(Board::new(common.quiet));
    let told = board.clone();
    let mut mirror = LayoutDestination::new(writer).on_progress(move |progress| told.tell(progress));
    if command.verify {
        mirror = mirror.verifying();
    }
    let mut options = PullOptions::default();
    options.platform.clone_from(&command.platform);
    options.foreign = command.foreign_layers;
    let pulled = client.pull(name, mirror, options);
    let counts = board.finish();
    let spent = client.spent();
    client.close();
    let root = pulled?;
    for skipped in &counts.skipped {
        common.note(format_args!(
            "left out: {skipped}, which may not be distributed (--foreign-layers takes it)"
        ));
    }
    common.note(format_args!(
        "{}; {} in blobs, {} of that fetched",
        count(counts.contents, "content"),
        DecimalBytes(counts.bytes),
        DecimalBytes(counts.fetched),
    ));
    if let Ok(layout) = Layout::open(&command.folder) {
        note_leftovers(&layout, common);
    }
    common.detail(format_args!("{}: {spent}", common.adapter.as_str()));
    writeln!(out, "{}", resolve::line(&root, command.json)?)?;
    Ok(())
}

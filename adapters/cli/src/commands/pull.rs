//! `ocip pull`.

mod progress;

use std::io::Write;
use std::sync::Arc;

use indicatif::DecimalBytes;
use oci_proto::{Descriptor, PullOptions, Reference};
use oci_proto_layout::{Durability, Layout, LayoutDestination};

use crate::args::pull_source::pull_source;
use crate::args::{CommonArgs, PullArgs};
use crate::client::{Client, with_client};
use crate::commands::leftovers::note_leftovers;
use crate::commands::pull::progress::ProgressDisplay;
use crate::commands::resolve;
use crate::output::{Failure, count};

pub(crate) fn run(command: &PullArgs, common: &CommonArgs, out: &mut impl Write) -> Result<(), Failure> {
    let name = &pull_source(&command.name, &command.directory).map_err(|mistake| Failure::from(&mistake))?;
    let durability = if command.no_sync { Durability::Unsynced } else { Durability::Synced };
    let mut options = PullOptions::default();
    options.platform.clone_from(&command.platform);
    options.foreign = command.foreign_layers;
    let root = with_client(name.registry(), common, |client| {
        let mut destination = LayoutDestination::at(&command.directory, durability)
            .map_err(|error| Failure::of_writing(&error))?;
        if command.verify {
            destination = destination.verifying();
        }
        let root = into_layout(client, name, destination, options, common)?;
        if let Ok(layout) = Layout::open(&command.directory) {
            note_leftovers(&layout, common);
        }
        Ok(root)
    })?;
    writeln!(out, "{}", resolve::line(&root, command.format.json)?)?;
    Ok(())
}

/// Pulls a tree into a layout, and shows the progress and the totals.
pub(super) fn into_layout(
    client: &Client,
    name: &Reference,
    destination: LayoutDestination,
    options: PullOptions,
    common: &CommonArgs,
) -> Result<Descriptor, Failure> {
    let display = Arc::new(ProgressDisplay::new(common.quiet));
    let reported = display.clone();
    let destination = destination.on_progress(move |progress| reported.report(progress));
    let pulled = client.pull(name, destination, options);
    let counts = display.finish();
    let root = pulled?;
    for skipped in &counts.skipped {
        common
            .note(format_args!("skipped nondistributable layer {skipped}; use --foreign-layers to fetch it"));
    }
    common.note(format_args!(
        "{}; {} in blobs, {} fetched",
        count(counts.contents, "item"),
        DecimalBytes(counts.bytes),
        DecimalBytes(counts.fetched),
    ));
    Ok(root)
}

//! `ocip pull`.

pub(super) mod progress;

use std::io::Write;
use std::sync::Arc;

use oci_proto::{Descriptor, PullOptions, Reference};
use oci_proto_layout::{Durability, Layout, LayoutDestination};

use crate::args::all_tags::Tags;
use crate::args::pull_source::pull_source;
use crate::args::selection::SelectionArgs;
use crate::args::{CommonArgs, PullArgs};
use crate::client::{Client, with_client};
use crate::commands::leftovers::note_leftovers;
use crate::commands::pull::progress::ProgressDisplay;
use crate::commands::resolve;
use crate::output::Failure;

pub(crate) fn run(command: &PullArgs, common: &CommonArgs, out: &mut impl Write) -> Result<(), Failure> {
    let source = pull_source(&command.name, &command.directory, Tags::One);
    let name = &source.map_err(|mistake| Failure::from(&mistake))?;
    let root = with_client(name.registry(), common, |client| {
        let destination = destination(command)?;
        let options = options(&command.selection, command.foreign_layers);
        let root = into_layout(client, name, destination, options, common)?;
        if let Ok(layout) = Layout::open(&command.directory) {
            note_leftovers(&layout, common);
        }
        Ok(root)
    })?;
    writeln!(out, "{}", resolve::line(&root, command.format.json)?)?;
    Ok(())
}

/// The layout to which a command pulls.
pub(super) fn destination(command: &PullArgs) -> Result<LayoutDestination, Failure> {
    let durability = if command.no_sync { Durability::Unsynced } else { Durability::Synced };
    let destination =
        LayoutDestination::at(&command.directory, durability).map_err(|error| Failure::of_writing(&error))?;
    Ok(if command.verify { destination.verifying() } else { destination })
}

pub(super) fn options(selection: &SelectionArgs, foreign: bool) -> PullOptions {
    let mut options = PullOptions::default();
    options.platform.clone_from(&selection.platform);
    options.foreign = foreign;
    options.referrers = selection.referrers;
    options
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
    let pulled = displayed(client, name, destination, options, &display);
    let counts = display.finish();
    let root = pulled?;
    counts.note(common);
    Ok(root)
}

/// Pulls a tree into a layout, and shows the progress.
pub(super) fn displayed(
    client: &Client,
    name: &Reference,
    destination: LayoutDestination,
    options: PullOptions,
    display: &Arc<ProgressDisplay>,
) -> Result<Descriptor, Failure> {
    let reported = display.clone();
    client.pull(name, destination.on_progress(move |progress| reported.report(progress)), options)
}

//! `ocip copy` and `ocip push`.

pub(super) mod local;

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use oci_proto::{Descriptor, PushOptions, Reference, Registry};
use oci_proto_common::TransferOptions;
use oci_proto_layout::{Durability, LayoutDestination};

use crate::args::CommonArgs;
use crate::args::all_tags::Tags;
use crate::args::ends::{copy_ends, push_ends};
use crate::args::layout_name::LayoutName;
use crate::args::reference::AnyReference;
use crate::args::writing::{CopyArgs, PushArgs, TransferArgs};
use crate::client::{Client, with_client};
use crate::commands::copy::local::{name_of, size_of_blobs};
use crate::commands::sending::SendDisplay;
use crate::commands::{pull, resolve};
use crate::interrupt::Interrupt;
use crate::output::Failure;

pub(crate) fn run(command: &CopyArgs, common: &CommonArgs, out: &mut impl Write) -> Result<(), Failure> {
    let ends = copy_ends(&command.from, &command.to, Tags::One).map_err(|mistake| Failure::from(&mistake))?;
    let options = &command.options;
    let copied = match &ends {
        (AnyReference::Registry(from), AnyReference::Registry(to)) => copy(from, to, options, common),
        (AnyReference::Layout(from), AnyReference::Registry(to)) => push(from, to, options, common),
        (from, AnyReference::Layout(to)) => {
            options_of_layouts(options)?;
            match from {
                AnyReference::Registry(from) => pull_to(from, to, options, common),
                AnyReference::Layout(from) => local::copy(from, to, options, common),
            }
        }
    };
    writeln!(out, "{}", resolve::line(&copied?, options.format.json)?)?;
    Ok(())
}

pub(crate) fn run_push(command: &PushArgs, common: &CommonArgs, out: &mut impl Write) -> Result<(), Failure> {
    let (from, to) =
        push_ends(&command.from, &command.to, Tags::One).map_err(|mistake| Failure::from(&mistake))?;
    let root = push(&from, &to, &command.options, common)?;
    writeln!(out, "{}", resolve::line(&root, command.options.format.json)?)?;
    Ok(())
}

/// Copies from one registry to another, or within one.
fn copy(
    from: &Reference,
    to: &Reference,
    options: &TransferArgs,
    common: &CommonArgs,
) -> Result<Descriptor, Failure> {
    transfer(to.registry(), None, push_options(options), common, |client, options, interrupt| {
        client.copy(from, to, options, interrupt)
    })
}

/// Sends a tree from a layout.
fn push(
    from: &LayoutName,
    to: &Reference,
    options: &TransferArgs,
    common: &CommonArgs,
) -> Result<Descriptor, Failure> {
    let (layout, root) = local::open(from, options)?;
    if let Some(digest) = to.digest().filter(|digest| **digest != root.digest) {
        let error =
            format!("the destination has the digest {digest}, but the content to send has {}", root.digest);
        return Err(Failure::usage(error).with_hint(format!("use {}, or a tag", to.at(root.digest))));
    }
    let size = size_of_blobs(&layout, &root, options.selection.referrers, &mut BTreeSet::new())?;
    transfer(to.registry(), Some(size), push_options(options), common, |client, options, interrupt| {
        client.push(&root, to, layout, options, interrupt)?;
        Ok(root)
    })
}

/// Runs a transfer to a registry, and shows its progress and the totals.
pub(super) fn transfer<T>(
    registry: &Registry,
    size: Option<u64>,
    options: PushOptions,
    common: &CommonArgs,
    run: impl FnOnce(&Client, TransferOptions, &Interrupt) -> Result<T, Failure>,
) -> Result<T, Failure> {
    transfers(registry, SendDisplay::new(size, common.quiet), common, |transfers| {
        run(transfers.client, transfers.options(options), &transfers.interrupt)
    })
}

/// Transfers to a registry with one client, whose progress and totals are shown together.
pub(super) struct Transfers<'a> {
    pub(super) client: &'a Client,
    pub(super) interrupt: Interrupt,
    pub(super) display: Arc<SendDisplay>,
}

impl Transfers<'_> {
    /// The options of a transfer, which reports its progress.
    pub(super) fn options(&self, options: PushOptions) -> TransferOptions {
        let (reported, check) = (self.display.clone(), self.interrupt.checker());
        TransferOptions::from(options).on_progress(move |progress| {
            check();
            reported.report(progress);
        })
    }
}

/// Runs transfers to a registry, and shows their progress and the totals.
pub(super) fn transfers<T>(
    registry: &Registry,
    display: SendDisplay,
    common: &CommonArgs,
    run: impl FnOnce(&Transfers<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    with_client(registry, common, |client| {
        let transfers = Transfers { client, interrupt: Interrupt::new()?, display: Arc::new(display) };
        let ended = run(&transfers);
        transfers.display.clear();
        let done = ended?;
        transfers.display.note(common);
        Ok(done)
    })
}

/// Copies from a registry to a layout or an archive.
fn pull_to(
    from: &Reference,
    to: &LayoutName,
    options: &TransferArgs,
    common: &CommonArgs,
) -> Result<Descriptor, Failure> {
    let pulled = pull::options(&options.selection, options.foreign_layers);
    with_client(from.registry(), common, |client| {
        let pull = |destination: Result<LayoutDestination, _>, name| {
            let destination = destination.map_err(|error| Failure::of_writing(&error))?;
            pull::into_layout(client, from, destination.named(name), pulled, common)
        };
        match to {
            LayoutName::Directory(to) => {
                pull(LayoutDestination::at(to.directory(), Durability::Synced), name_of(to.root()))
            }
            LayoutName::Archive(to) => local::pull_to_archive(to, options, common, |directory| {
                pull(LayoutDestination::at(directory, Durability::Unsynced), None)
            }),
        }
    })
}

pub(super) fn push_options(options: &TransferArgs) -> PushOptions {
    let mut push = PushOptions::default();
    push.platform.clone_from(&options.selection.platform);
    push.referrers = options.selection.referrers;
    push.foreign = options.foreign_layers;
    push.tags.clone_from(&options.tags);
    push.mount.clone_from(&options.mount_from);
    push.verify = options.verify;
    push
}

/// Refuses the options that apply only to registries.
pub(super) fn options_of_layouts(options: &TransferArgs) -> Result<(), Failure> {
    let option = match options {
        TransferArgs { mount_from: Some(_), .. } => "--mount-from",
        TransferArgs { tags, .. } if !tags.is_empty() => "--tag",
        TransferArgs { verify: true, .. } => "--verify",
        _ => return Ok(()),
    };
    Err(Failure::usage(format_args!("{option} applies only to registries; a layout is named in DEST")))
}

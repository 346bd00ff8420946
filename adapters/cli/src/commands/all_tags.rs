//! Copies of all tags of a repository, or of all named roots of a layout: `--all-tags` of `ocip copy`, `ocip push` and
//! `ocip pull`.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci_proto::layout::{RefName, Root};
use oci_proto::{Descriptor, PullOptions, Reference, Tag, is_fallback_tag};
use oci_proto_layout::{ArchiveReference, Durability, Layout, LayoutDestination};
use serde::Serialize;

use crate::args::all_tags::Tags;
use crate::args::ends::{copy_ends, push_ends};
use crate::args::layout_name::LayoutName;
use crate::args::pull_source::pull_source;
use crate::args::reference::AnyReference;
use crate::args::writing::{CopyArgs, PushArgs, TransferArgs};
use crate::args::{CommonArgs, PullArgs};
use crate::client::{Client, with_client};
use crate::commands::copy::local::{Destination, interruptible, size_of_blobs, through_layout};
use crate::commands::copy::{Transfers, options_of_layouts, push_options, transfers};
use crate::commands::leftovers::note_leftovers;
use crate::commands::pull;
use crate::commands::pull::progress::ProgressDisplay;
use crate::commands::sending::SendDisplay;
use crate::concern::Concern;
use crate::output::{Failure, count};
use crate::signals;
use crate::stderr::{print_line, suspend};

pub(crate) fn copy(command: &CopyArgs, common: &CommonArgs, out: &mut impl Write) -> Result<(), Failure> {
    let ends = copy_ends(&command.from, &command.to, Tags::All).map_err(|mistake| Failure::from(&mistake))?;
    let options = &command.options;
    without_tags(options)?;
    if matches!(ends.1, AnyReference::Layout(_)) {
        options_of_layouts(options)?;
    }
    let results = &mut Results { common, json: options.format.json, out };
    match &ends {
        (AnyReference::Registry(from), AnyReference::Registry(to)) => {
            between_registries(from, to, options, results)
        }
        (AnyReference::Layout(from), AnyReference::Registry(to)) => push_all(from, to, options, results),
        (AnyReference::Layout(from), AnyReference::Layout(to)) => on_disk(from, to, options, results),
        (AnyReference::Registry(from), AnyReference::Layout(LayoutName::Directory(to))) => {
            let destination = || destination(to.directory(), Durability::Synced);
            pull_all(from, &pull_options(options), results, destination)?.result()
        }
        (AnyReference::Registry(from), AnyReference::Layout(LayoutName::Archive(to))) => {
            pull_to_archive(from, to, options, results)?.result()
        }
    }
}

pub(crate) fn push(command: &PushArgs, common: &CommonArgs, out: &mut impl Write) -> Result<(), Failure> {
    let ends = push_ends(&command.from, &command.to, Tags::All).map_err(|mistake| Failure::from(&mistake))?;
    let options = &command.options;
    without_tags(options)?;
    push_all(&ends.0, &ends.1, options, &mut Results { common, json: options.format.json, out })
}

pub(crate) fn pull(command: &PullArgs, common: &CommonArgs, out: &mut impl Write) -> Result<(), Failure> {
    let source = pull_source(&command.name, &command.directory, Tags::All);
    let from = source.map_err(|mistake| Failure::from(&mistake))?;
    let options = pull::options(&command.selection, command.foreign_layers);
    let results = &mut Results { common, json: command.format.json, out };
    let pulled = pull_all(&from, &options, results, || pull::destination(command));
    if let Ok(layout) = Layout::open(&command.directory) {
        note_leftovers(&layout, common);
    }
    pulled?.result()
}

/// Refuses further tags, which could name only one root.
fn without_tags(options: &TransferArgs) -> Result<(), Failure> {
    if options.tags.is_empty() {
        return Ok(());
    }
    let failure =
        Failure::usage("--tag names one root, but with --all-tags each is copied under its own name");
    Err(failure.with_hint("omit --tag; `ocip tag REF TAG` adds a tag afterwards"))
}

fn between_registries(
    from: &Reference,
    to: &Reference,
    options: &TransferArgs,
    results: &mut Results<'_, impl Write>,
) -> Result<(), Failure> {
    let display = SendDisplay::of_several(results.common.quiet);
    transfers(to.registry(), display, results.common, |transfers| {
        let Transfers { client, interrupt, display } = transfers;
        let tags = tags(client, from, options.selection.referrers, results.common)?;
        Ok(results.each(&tags, format_args!("{} has no tags", from.repository()), |number, tag| {
            display.begin(number, tags.copied.len());
            let sent = transfers.options(push_options(options));
            client.copy(&with_tag(from, tag)?, &with_tag(to, tag)?, sent, interrupt)
        }))
    })??
    .result()
}

/// Sends all named roots of a layout.
fn push_all(
    from: &LayoutName,
    to: &Reference,
    options: &TransferArgs,
    results: &mut Results<'_, impl Write>,
) -> Result<(), Failure> {
    let layout = from.open().map_err(|error| Failure::of_opening(&error, from))?;
    let names = names(&layout, options.selection.referrers, results.common);
    let display = SendDisplay::of_several(results.common.quiet);
    transfers(to.registry(), display, results.common, |transfers| {
        let Transfers { client, interrupt, display } = transfers;
        let mut seen = BTreeSet::new();
        Ok(results.each(&names, format_args!("no root of {from} has a name"), |number, name| {
            display.begin(number, names.copied.len());
            let tag: Tag = name.parse().map_err(unusable)?;
            let root = root(&layout, name, options)?;
            display.add_known(size_of_blobs(&layout, &root, options.selection.referrers, &mut seen)?);
            let sent = transfers.options(push_options(options));
            client.push(&root, &with_tag(to, &tag)?, layout.clone(), sent, interrupt)?;
            Ok(root)
        }))
    })??
    .result()
}

/// Copies all named roots of a layout to another one, or to an archive.
fn on_disk(
    from: &LayoutName,
    to: &LayoutName,
    options: &TransferArgs,
    results: &mut Results<'_, impl Write>,
) -> Result<(), Failure> {
    let layout = from.open().map_err(|error| Failure::of_opening(&error, from))?;
    let names = names(&layout, options.selection.referrers, results.common);
    let display = SendDisplay::of_several(results.common.quiet);
    let copied = interruptible(|check| {
        let mut destination = None;
        let mut seen = BTreeSet::new();
        let copied = results.each(&names, format_args!("no root of {from} has a name"), |number, name| {
            display.begin(number, names.copied.len());
            let root = root(&layout, name, options)?;
            display.add_known(size_of_blobs(&layout, &root, options.selection.referrers, &mut seen)?);
            let name = name.parse().map_err(unusable)?;
            // Nothing is created before there is something to copy.
            let to = match &mut destination {
                Some(to) => to,
                none => none.insert(Destination::open(to)?),
            };
            to.copy(&layout, &root, Some(&name), options.selection.referrers, &display, check)?;
            Ok(root)
        })?;
        // Without any root there is no archive.
        if let Some(to) = destination.filter(|_| copied.done > 0) {
            to.finish()?;
        }
        Ok(copied)
    });
    display.clear();
    display.note(results.common);
    copied?.result()
}

/// Pulls all tags of a repository into a layout.
fn pull_all(
    from: &Reference,
    options: &PullOptions,
    results: &mut Results<'_, impl Write>,
    destination: impl Fn() -> Result<LayoutDestination, Failure>,
) -> Result<Copied, Failure> {
    with_client(from.registry(), results.common, |client| {
        let tags = tags(client, from, options.referrers, results.common)?;
        let display = Arc::new(ProgressDisplay::new(results.common.quiet));
        let pulled = results.each(&tags, format_args!("{} has no tags", from.repository()), |number, tag| {
            display.begin(number, tags.copied.len());
            let destination = destination().map_err(|failure| failure.concerning(Concern::Everything))?;
            let destination = destination.named(tag.as_str().parse().ok());
            pull::displayed(client, &with_tag(from, tag)?, destination, options.clone(), &display)
        });
        display.finish().note(results.common);
        pulled
    })
}

/// Pulls all tags of a repository into an archive, by way of a layout.
fn pull_to_archive(
    from: &Reference,
    to: &ArchiveReference,
    options: &TransferArgs,
    results: &mut Results<'_, impl Write>,
) -> Result<Copied, Failure> {
    let common = results.common;
    let pull = |directory: &Path| {
        pull_all(from, &pull_options(options), results, || destination(directory, Durability::Unsynced))
    };
    through_layout(to, common, pull, |layout, _, archive, check| {
        let display = SendDisplay::new(None, true);
        for name in layout.names().into_iter().flatten() {
            let root = layout.resolve(&named(name)?, None).map_err(|error| Failure::of_layout(&error))?;
            let name = name.parse().map_err(unusable)?;
            archive.copy(layout, &root, Some(&name), options.selection.referrers, &display, check)?;
        }
        Ok(())
    })
}

fn pull_options(options: &TransferArgs) -> PullOptions {
    pull::options(&options.selection, options.foreign_layers)
}

fn destination(directory: &Path, durability: Durability) -> Result<LayoutDestination, Failure> {
    LayoutDestination::at(directory, durability).map_err(|error| Failure::of_writing(&error))
}

/// The tags to copy.
struct Selected<T> {
    copied: Vec<T>,
    /// The number of indexes of referrers, under fallback tags. The destination has its own, which a copy would replace.
    indexes: u64,
}

impl<T: fmt::Display> Selected<T> {
    /// Leaves out indexes of referrers, and says so unless the referrers themselves are copied.
    fn of(tags: impl Iterator<Item = T>, referrers: bool, common: &CommonArgs) -> Self {
        let is_index = |tag: &T| tag.to_string().parse().is_ok_and(|tag| is_fallback_tag(&tag));
        let (indexes, copied): (Vec<_>, _) = tags.partition(is_index);
        let indexes = indexes.len() as u64;
        if indexes > 0 && !referrers {
            let (left_out, as_tags) = match indexes {
                1 => ("1 index of referrers".to_owned(), "is not copied as a tag"),
                _ => (format!("{indexes} indexes of referrers"), "are not copied as tags"),
            };
            common.note(format_args!("{left_out} (sha256-...) {as_tags}; --referrers copies referrers"));
        }
        Self { copied, indexes }
    }
}

/// Lists the tags of a repository.
fn tags(
    client: &Client,
    from: &Reference,
    referrers: bool,
    common: &CommonArgs,
) -> Result<Selected<Tag>, Failure> {
    let mut tags = Vec::new();
    let left_out = client.tags(from, &mut |tag| {
        tags.push(tag);
        Ok(())
    })?;
    if left_out > 0 {
        common.note(format_args!("warning: {} left out", count(left_out, "invalid tag")));
    }
    Ok(Selected::of(tags.into_iter(), referrers, common))
}

/// The names of a layout's roots, each once, in the order of its `index.json`.
fn names(layout: &Layout, referrers: bool, common: &CommonArgs) -> Selected<String> {
    let mut seen = BTreeSet::new();
    let names = layout.names().into_iter().flatten().filter(|name| seen.insert(*name));
    Selected::of(names.map(str::to_owned), referrers, common)
}

/// Resolves a named root of a layout, or the best match for the platform of the options.
fn root(layout: &Layout, name: &str, options: &TransferArgs) -> Result<Descriptor, Failure> {
    let root = layout.resolve(&named(name)?, options.selection.platform.as_ref());
    root.map_err(|error| Failure::of_layout(&error))
}

fn named(name: &str) -> Result<Root, Failure> {
    Ok(Root::Named(name.parse::<RefName>().map_err(unusable)?))
}

/// The reference to a tag of a repository.
fn with_tag(repository: &Reference, tag: &Tag) -> Result<Reference, Failure> {
    let (registry, name) = (repository.registry().clone(), repository.repository().clone());
    Reference::with_tag(registry, name, tag.clone()).map_err(unusable)
}

/// A name that the destination cannot have.
fn unusable(invalid: impl fmt::Display) -> Failure {
    Failure::failed(invalid).concerning(Concern::Content)
}

/// The results of copies, which are printed as they come.
struct Results<'a, W> {
    common: &'a CommonArgs,
    json: bool,
    out: &'a mut W,
}

impl<W: Write> Results<'_, W> {
    /// Copies each tag, and prints its result or its failure. If there are none, prints `empty`.
    ///
    /// # Errors
    /// A failure concerns every tag. The others are not tried.
    fn each<T: fmt::Display>(
        &mut self,
        tags: &Selected<T>,
        empty: fmt::Arguments<'_>,
        mut copy: impl FnMut(usize, &T) -> Result<Descriptor, Failure>,
    ) -> Result<Copied, Failure> {
        let mut copied = Copied { done: 0, of: tags.copied.len() };
        let so_far = SoFar::new(copied.of, self.common)?;
        let mut ended = Ok(());
        for (number, tag) in (1..).zip(&tags.copied) {
            match copy(number, tag) {
                Ok(root) => {
                    let line = line(&tag.to_string(), &root, self.json)?;
                    copied.done += 1;
                    *so_far.lock() = Some(copied.done);
                    // A pipe does not disturb the bars, but may block; a signal must still be able to print.
                    if io::stdout().is_terminal() {
                        suspend(|| writeln!(self.out, "{line}"))?;
                    } else {
                        writeln!(self.out, "{line}")?;
                    }
                }
                Err(failure) => {
                    let failure = failure.of_tag(&tag.to_string());
                    if failure.concern() == Concern::Everything {
                        ended = Err(failure);
                        break;
                    }
                    failure.report();
                }
            }
        }
        let others = if tags.indexes > 0 { ", except for indexes of referrers" } else { "" };
        let tags = count(copied.of as u64, "tag");
        let is_told = so_far.lock().take().is_none();
        match copied.done {
            _ if is_told => {}
            _ if copied.of == 0 => self.common.note(format_args!("nothing to copy: {empty}{others}")),
            done if ended.is_err() => self.common.note(format_args!("{done} of {tags} copied")),
            // Otherwise the failure has the number.
            done if done == copied.of => self.common.note(format_args!("{tags} copied")),
            _ => {}
        }
        ended.map(|()| copied)
    }
}

/// The number of tags that were copied so far, until it is told. A signal that ends the copy tells it.
struct SoFar(Arc<Mutex<Option<usize>>>);

impl SoFar {
    fn new(of: usize, common: &CommonArgs) -> Result<Self, Failure> {
        let so_far = Self(Arc::new(Mutex::new(Some(0))));
        let (shared, quiet) = (Self(so_far.0.clone()), common.quiet);
        signals::before_end(move || {
            let done = shared.lock().take();
            if let Some(done) = done.filter(|_| !quiet) {
                print_line(format_args!("{done} of {} copied", count(of as u64, "tag")));
            }
        })
        .map_err(|error| Failure::failed(format_args!("could not handle signals: {error}")))?;
        Ok(so_far)
    }

    fn lock(&self) -> MutexGuard<'_, Option<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of tags that were copied, of how many.
struct Copied {
    done: usize,
    of: usize,
}

impl Copied {
    /// A failure if some were not copied.
    fn result(self) -> Result<(), Failure> {
        match self.of - self.done {
            0 => Ok(()),
            1 => Err(Failure::failed(format_args!("1 of {} was not copied", count(self.of as u64, "tag")))),
            left => Err(Failure::failed(format_args!(
                "{left} of {} were not copied",
                count(self.of as u64, "tag")
            ))),
        }
    }
}

/// A tag and its root, as text or as a JSON object.
fn line(tag: &str, root: &Descriptor, json: bool) -> Result<String, Failure> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Line<'a> {
        tag: &'a str,
        media_type: &'a str,
        digest: String,
        size: u64,
    }
    let (media_type, digest, size) = (root.media_type.as_str(), root.digest.to_string(), root.size);
    if !json {
        return Ok(format!("{tag}  {media_type}  {digest}  {size}"));
    }
    serde_json::to_string(&Line { tag, media_type, digest, size }).map_err(Failure::failed)
}

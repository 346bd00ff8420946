//! The progress of a transfer: a line for each blob, and bars on a terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal as _};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::DecimalBytes;
use oci_proto::{Descriptor, Digest, Kind, Stored};
use oci_proto_common::UploadProgress;
use oci_proto_layout::Copied;

use crate::args::CommonArgs;
use crate::commands::bar::Bar;
use crate::commands::skipped::skipped;
use crate::commands::tree::short;
use crate::output::count;
use crate::stderr::print_line;

/// The size from which a blob has its own bar.
const LARGE: u64 = 1 << 20;

/// Displays the progress of content that is sent or copied.
pub(super) struct SendDisplay {
    state: Mutex<State>,
    /// Whether each blob has a line.
    has_lines: bool,
}

#[derive(Default)]
struct State {
    totals: Totals,
    /// Everything that was stored. Several transfers may have some content in common, which counts once.
    stored: BTreeSet<Digest>,
    /// The blobs that are being sent.
    blobs: BTreeMap<Digest, Blob>,
    /// The bytes of all blobs, if known, and at least of those that were begun.
    known: u64,
    begun: u64,
    done: u64,
    total: Option<Bar>,
}

struct Blob {
    size: u64,
    /// The bytes that were sent.
    done: u64,
    bar: Option<Bar>,
}

#[derive(Default)]
struct Totals {
    contents: u64,
    existing: u64,
    mounted: u64,
    /// The bytes of the blobs that were stored.
    bytes: u64,
    /// Of these, the bytes of those that were sent.
    sent: u64,
    /// A line about each content that was skipped.
    skipped: Vec<String>,
}

impl SendDisplay {
    /// Creates a display of a transfer with this many bytes in blobs, if that is known.
    pub(super) fn new(known: Option<u64>, quiet: bool) -> Self {
        let total = (!quiet && io::stderr().is_terminal()).then(|| Bar::new("total", 0).drawn());
        let state = State { known: known.unwrap_or_default(), total, ..State::default() };
        Self { state: Mutex::new(state), has_lines: !quiet }
    }

    /// Creates a display of several transfers, without lines.
    pub(super) fn of_several(quiet: bool) -> Self {
        Self { has_lines: false, ..Self::new(None, quiet) }
    }

    /// Shows which of several transfers begins. The one before may have failed.
    pub(super) fn begin(&self, number: usize, of: usize) {
        let mut state = self.lock();
        for blob in mem::take(&mut state.blobs).into_values() {
            state.begun = state.begun.saturating_sub(blob.size);
            state.done = state.done.saturating_sub(blob.done);
            blob.bar.iter().for_each(Bar::clear);
        }
        if let Some(total) = &state.total {
            total.rename(&format!("tag {number}/{of}"));
        }
    }

    /// Adds the bytes in blobs of another transfer that no earlier one has.
    pub(super) fn add_known(&self, bytes: u64) {
        let mut state = self.lock();
        state.known = state.known.saturating_add(bytes);
        state.draw();
    }

    pub(super) fn report(&self, progress: UploadProgress<'_>) {
        match progress {
            UploadProgress::Sent { digest, position, size } => self.lock().sent(digest, position, size),
            UploadProgress::Stored(descriptor, stored) => self.stored(descriptor, stored),
            UploadProgress::Skipped(descriptor) => self.lock().skipped(descriptor, skipped(descriptor)),
            _ => {}
        }
    }

    /// Reports some content that was copied between layouts.
    pub(super) fn copied(&self, copied: Copied<'_>) {
        match copied {
            Copied::Existing(descriptor) => self.stored(descriptor, Stored::Existing),
            Copied::Written(descriptor) => self.stored(descriptor, Stored::Sent),
            Copied::Skipped(descriptor) => {
                let Descriptor { digest, media_type, .. } = descriptor;
                let line = if media_type.is_nondistributable() {
                    format!("skipped nondistributable layer {digest}, which the source does not have")
                } else {
                    skipped(descriptor)
                };
                self.lock().skipped(descriptor, line);
            }
            _ => {}
        }
    }

    fn stored(&self, descriptor: &Descriptor, stored: Stored) {
        let mut state = self.lock();
        let is_blob = descriptor.media_type.kind() == Kind::Other;
        state.stored(descriptor, stored, is_blob);
        let digest =
            if state.total.is_some() { short(&descriptor.digest) } else { descriptor.digest.to_string() };
        drop(state);
        if is_blob && self.has_lines {
            let how = match stored {
                Stored::Existing => "exists",
                Stored::Mounted => "mounted",
                Stored::Sent => "sent",
            };
            print_line(format_args!("{how:<7}  {digest}  {}", DecimalBytes(descriptor.size)));
        }
    }

    /// Removes the bars.
    pub(super) fn clear(&self) {
        let mut state = self.lock();
        let blobs = mem::take(&mut state.blobs);
        blobs.values().filter_map(|blob| blob.bar.as_ref()).chain(&state.total.take()).for_each(Bar::clear);
    }

    /// Prints the totals.
    pub(super) fn note(&self, common: &CommonArgs) {
        let totals = mem::take(&mut self.lock().totals);
        for skipped in &totals.skipped {
            common.note(format_args!("{skipped}"));
        }
        if totals.contents == 0 {
            return;
        }
        common.note(format_args!(
            "{}, {} of which existed{}; {} in blobs, {} sent",
            count(totals.contents, "item"),
            totals.existing,
            match totals.mounted {
                0 => String::new(),
                mounted => format!(", {mounted} mounted"),
            },
            DecimalBytes(totals.bytes),
            DecimalBytes(totals.sent),
        ));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sent(&mut self, digest: &Digest, position: u64, size: u64) {
        if self.stored.contains(digest) {
            return;
        }
        if !self.blobs.contains_key(digest) {
            self.begun += size;
            let bar = self.total.as_ref().filter(|_| size >= LARGE).map(|total| {
                let name: String = digest.encoded().chars().take(12).collect();
                Bar::new(&name, size).drawn_above(total)
            });
            self.blobs.insert(digest.clone(), Blob { size, done: 0, bar });
        }
        if let Some(blob) = self.blobs.get_mut(digest) {
            // It decreases if an upload is resumed.
            let sent = position.saturating_sub(blob.done);
            self.done = (self.done + position).saturating_sub(blob.done);
            blob.done = position;
            if let Some(bar) = &blob.bar {
                bar.add_fetched(sent);
                bar.set(position, size);
            }
            if let Some(total) = &self.total {
                total.add_fetched(sent);
            }
        }
        self.draw();
    }

    fn stored(&mut self, descriptor: &Descriptor, stored: Stored, is_blob: bool) {
        let Descriptor { digest, size, .. } = descriptor;
        if !self.stored.insert(digest.clone()) {
            return;
        }
        self.totals.contents += 1;
        match stored {
            Stored::Existing => self.totals.existing += 1,
            Stored::Mounted => self.totals.mounted += 1,
            Stored::Sent => {}
        }
        if !is_blob {
            return;
        }
        self.totals.bytes += size;
        if stored == Stored::Sent {
            self.totals.sent += size;
        }
        let blob = self.blobs.remove(digest).unwrap_or_else(|| {
            self.begun += size;
            Blob { size: *size, done: 0, bar: None }
        });
        self.done += blob.size.saturating_sub(blob.done);
        if let Some(bar) = blob.bar {
            bar.clear();
        }
        self.draw();
    }

    fn skipped(&mut self, descriptor: &Descriptor, line: String) {
        if !self.totals.skipped.contains(&line) {
            self.totals.skipped.push(line);
            self.known = self.known.saturating_sub(descriptor.size);
            self.draw();
        }
    }

    fn draw(&self) {
        if let Some(total) = &self.total {
            total.set(self.done, self.known.max(self.begun));
        }
    }
}

#[cfg(test)]
mod tests {
    use oci_proto::{Algorithm, MediaType};

    use super::*;

    #[test]
    fn an_upload_that_is_resumed_counts_its_bytes_once() {
        let display = SendDisplay::new(Some(300), true);
        display.lock().total = Some(Bar::new("total", 0));
        let blob = |content: &[u8]| {
            Descriptor::new(MediaType::OCTET_STREAM, Digest::of(Algorithm::Sha256, content), 100)
        };
        let (first, second) = (blob(b"first"), blob(b"second"));
        for position in [80, 40, 100] {
            display.report(UploadProgress::Sent { digest: &first.digest, position, size: 100 });
        }
        let done = || {
            let state = display.lock();
            (state.done, state.begun)
        };
        assert_eq!(done(), (100, 100));
        display.report(UploadProgress::Stored(&first, Stored::Sent));
        display.report(UploadProgress::Stored(&second, Stored::Existing));
        assert_eq!(done(), (200, 200));
        let totals = mem::take(&mut display.lock().totals);
        assert_eq!((totals.contents, totals.existing, totals.bytes, totals.sent), (2, 1, 200, 100));
    }

    #[test]
    fn content_that_several_transfers_share_counts_once() {
        let display = SendDisplay::of_several(true);
        display.lock().total = Some(Bar::new("total", 0));
        let blob = |content: &[u8]| {
            Descriptor::new(MediaType::OCTET_STREAM, Digest::of(Algorithm::Sha256, content), 100)
        };
        let (shared, failed) = (blob(b"shared"), blob(b"failed"));
        let sent = |blob: &Descriptor, position| {
            display.report(UploadProgress::Sent { digest: &blob.digest, position, size: 100 });
        };
        let shown = || {
            let state = display.lock();
            (state.done, state.known, state.begun)
        };
        display.begin(1, 2);
        display.add_known(200);
        sent(&shared, 100);
        display.report(UploadProgress::Stored(&shared, Stored::Sent));
        sent(&failed, 40);
        assert_eq!(shown(), (140, 200, 200));
        // The first transfer has failed, and the second one sends all again.
        display.begin(2, 2);
        assert_eq!(shown(), (100, 200, 100));
        sent(&shared, 100);
        display.report(UploadProgress::Stored(&shared, Stored::Existing));
        sent(&failed, 100);
        display.report(UploadProgress::Stored(&failed, Stored::Sent));
        assert_eq!(shown(), (200, 200, 200));
        let totals = mem::take(&mut display.lock().totals);
        assert_eq!((totals.contents, totals.existing, totals.bytes, totals.sent), (2, 0, 200, 200));
    }

    #[test]
    fn skipped_content_is_not_part_of_the_total() {
        let display = SendDisplay::new(Some(300), true);
        let skipped = |media_type: &str| {
            let digest = Digest::of(Algorithm::Sha256, media_type.as_bytes());
            let descriptor = Descriptor::new(media_type.parse().unwrap(), digest, 100);
            // A layer of two images.
            display.report(UploadProgress::Skipped(&descriptor));
            display.report(UploadProgress::Skipped(&descriptor));
            let state = display.lock();
            (state.known, state.totals.skipped.last().unwrap().replace(&descriptor.digest.to_string(), "D"))
        };
        let layer = "skipped nondistributable layer D; use --foreign-layers to copy it";
        let media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar";
        assert_eq!(skipped(media_type), (200, layer.to_owned()));
        let referrer = "skipped referrer D, which is neither a manifest nor an index but a/b";
        assert_eq!(skipped("a/b").1, referrer);
    }

    #[test]
    fn a_copy_says_why_it_skips_content() {
        let display = SendDisplay::new(None, true);
        let skipped = |media_type: &str| {
            let digest = Digest::of(Algorithm::Sha256, media_type.as_bytes());
            let descriptor = Descriptor::new(media_type.parse().unwrap(), digest, 100);
            display.copied(Copied::Skipped(&descriptor));
            let state = display.lock();
            state.totals.skipped.last().unwrap().replace(&descriptor.digest.to_string(), "D")
        };
        let layer = "skipped nondistributable layer D, which the source does not have";
        assert_eq!(skipped("application/vnd.oci.image.layer.nondistributable.v1.tar"), layer);
        let referrer = "skipped referrer D, which is neither a manifest nor an index but a/b";
        assert_eq!(skipped("a/b"), referrer);
    }
}

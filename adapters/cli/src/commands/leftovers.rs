//! Partial blobs of interrupted pulls in a layout.

use indicatif::DecimalBytes;
use oci_proto_layout::{Layout, Leftovers};

use crate::args::CommonArgs;
use crate::output::count;

/// Prints a notice of partial blobs, which nothing else removes.
pub(super) fn note_leftovers(layout: &Layout, common: &CommonArgs) {
    let Leftovers { blobs, bytes, directory, .. } = layout.leftovers();
    if blobs > 0 {
        common.note(format_args!(
            "{} of interrupted pulls, {}, in {}; repeat the pull to resume",
            count(blobs, "partial blob"),
            DecimalBytes(bytes),
            directory.display(),
        ));
    }
}

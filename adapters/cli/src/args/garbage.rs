//! The arguments of `ocip gc`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::args::format::LineFormat;
use crate::args::values::span;

/// Remove content that nothing needs from the directory of a registry.
#[derive(Args, Debug)]
#[command(after_help = "\
DIR has an image layout for each repository. In each, blobs that no manifest in its index.json needs \
are removed: those of deleted manifests, and of pushes that never reached their manifest. What was \
written in the last 24 hours is kept, since its push may still go on; --older-than changes that. With \
--untagged, manifests without a tag are removed too, unless an index that is kept contains them, or \
they are the subject or a referrer of a manifest that is kept.

Temporary files of a process that crashed are removed. Unfinished uploads, and files that are not \
content, are kept. A repository is skipped, with a warning on stderr, if one of its manifests cannot \
be read, since the content that it needs is unknown, or if another program is writing to its layout. \
Stop a registry that serves DIR first.

Each line is content that was removed: its repository, digest and size in bytes. A line on stderr \
has the total. With --json, each line is an object with \"repository\", \"digest\" and \"size\".

Examples:
  ocip gc --dry-run registry
  ocip gc --untagged --older-than 7d registry
  ocip gc --json registry | jq -r .digest")]
pub(crate) struct GcArgs {
    /// Directory of the registry.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// Also remove manifests without a tag.
    #[arg(long)]
    pub(crate) untagged: bool,
    /// Remove only content of this age: a number and a unit (s, m, h, d), or 0 for all.
    #[arg(long, value_name = "AGE", value_parser = span, default_value = "24h")]
    pub(crate) older_than: Duration,
    /// Remove nothing, and print what would be removed.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) format: LineFormat,
}

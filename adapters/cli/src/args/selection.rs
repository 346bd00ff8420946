//! The options that select what is copied, in every direction.

use clap::Args;
use oci_proto::Platform;

/// The options of `copy`, `push` and `pull`.
#[derive(Args, Debug)]
pub(crate) struct SelectionArgs {
    /// In an index, copy only the best match for this platform: os/arch[/variant].
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,
    /// Also copy all referrers, such as signatures and SBOMs.
    #[arg(long)]
    pub(crate) referrers: bool,
    /// Copy all tags of a repository, or all named roots of a layout.
    #[arg(long)]
    pub(crate) all_tags: bool,
}

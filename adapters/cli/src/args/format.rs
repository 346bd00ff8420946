//! The formats of results, which several commands share.

use clap::Args;

/// The option of commands that print a descriptor.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct DescriptorFormat {
    /// Print {"mediaType", "digest", "size"} on one line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The option of commands that print lines.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct LineFormat {
    /// Print one JSON object per line.
    #[arg(long)]
    pub(crate) json: bool,
}

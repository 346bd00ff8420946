//! `ocip manifest`.

use std::io::Write;

use crate::args::ManifestArgs;
use crate::content_source::ContentSource;
use crate::output::Failure;

pub(crate) fn run(
    command: &ManifestArgs,
    source: &ContentSource<'_>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let manifest = source.manifest(command.asked.platform.as_ref())?;
    out.write_all(manifest.bytes())?;
    out.flush()?;
    Ok(())
}

//! `ocip resolve`.

use std::io::Write;

use oci_proto::Descriptor;
use serde::Serialize;

use crate::args::ResolveArgs;
use crate::content_source::ContentSource;
use crate::output::Failure;

pub(crate) fn run(
    command: &ResolveArgs,
    source: &ContentSource<'_>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let descriptor = source.resolve(command.asked.platform.as_ref())?;
    writeln!(out, "{}", line(&descriptor, command.format.json)?)?;
    Ok(())
}

/// A descriptor as three lines, or as a JSON object.
pub(super) fn line(descriptor: &Descriptor, json: bool) -> Result<String, Failure> {
    if !json {
        return Ok(text(descriptor));
    }
    let line = Line {
        media_type: descriptor.media_type.as_str(),
        digest: descriptor.digest.to_string(),
        size: descriptor.size,
    };
    serde_json::to_string(&line).map_err(Failure::failed)
}

pub(super) fn text(Descriptor { media_type, digest, size, .. }: &Descriptor) -> String {
    format!("mediaType  {media_type}\ndigest     {digest}\nsize       {size}")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    media_type: &'a str,
    digest: String,
    size: u64,
}

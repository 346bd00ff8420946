//! `ocip resolve`.

use std::io::Write;

use oci_proto::Descriptor;
use serde::Serialize;

use crate::args::Resolve;
use crate::output::Failure;
use crate::source::Source;

pub(crate) fn run(command: &Resolve, source: &Source<'_>, out: &mut impl Write) -> Result<(), Failure> {
    let descriptor = source.resolve(command.asked.platform.as_ref())?;
    if command.json {
        let line = Line {
            media_type: descriptor.media_type.as_str(),
            digest: descriptor.digest.to_string(),
            size: descriptor.size,
        };
        writeln!(out, "{}", serde_json::to_string(&line).map_err(Failure::failed)?)?;
    } else {
        writeln!(out, "{}", text(&descriptor))?;
    }
    Ok(())
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

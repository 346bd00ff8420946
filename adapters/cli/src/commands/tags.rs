//! `ocip tags`.

use std::io::Write;

use oci_proto::Tag;
use serde::Serialize;

use crate::args::CommonArgs;
use crate::args::registry::TagsArgs;
use crate::client::Client;
use crate::output::{Failure, count};

pub(crate) fn run(
    command: &TagsArgs,
    common: &CommonArgs,
    client: &Client,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let left_out = client.tags(&command.name, &mut |tag| {
        writeln!(out, "{}", line(&tag, command.format.json)?)?;
        Ok(())
    })?;
    if left_out > 0 {
        common.note(format_args!("warning: {} left out", count(left_out, "invalid tag")));
    }
    Ok(())
}

fn line(tag: &Tag, json: bool) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Line<'a> {
        tag: &'a str,
    }
    if !json {
        return Ok(tag.to_string());
    }
    serde_json::to_string(&Line { tag: tag.as_str() }).map_err(Failure::failed)
}

//! `ocip referrers`.

use std::collections::BTreeMap;
use std::io::Write;

use indicatif::DecimalBytes;
use oci_proto::{MediaType, Referrer};
use serde::Serialize;

use crate::args::CommonArgs;
use crate::args::registry::ReferrersArgs;
use crate::client::Client;
use crate::output::Failure;

pub(crate) fn run(
    command: &ReferrersArgs,
    common: &CommonArgs,
    client: &Client,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let ReferrersArgs { name, artifact_type, .. } = command;
    let mut is_empty = true;
    client.referrers(name, artifact_type.as_ref(), &mut |referrer| {
        is_empty = false;
        let line = if command.format.json { json(&referrer)? } else { line(&referrer) };
        writeln!(out, "{line}")?;
        Ok(())
    })?;
    match artifact_type {
        Some(artifact_type) if is_empty => {
            common.note(format_args!("no referrers of {name} with the artifact type {artifact_type}"));
        }
        None if is_empty => common.note(format_args!("no referrers of {name}")),
        _ => {}
    }
    Ok(())
}

pub(super) fn line(Referrer { descriptor, .. }: &Referrer) -> String {
    let size = DecimalBytes(descriptor.size).to_string();
    let artifact_type = descriptor.artifact_type.as_ref().map_or("-", MediaType::as_str);
    format!("{}  {size:>9}  {artifact_type}", descriptor.digest)
}

fn json(Referrer { descriptor, annotations, .. }: &Referrer) -> Result<String, Failure> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Line<'a> {
        media_type: &'a str,
        digest: String,
        size: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        artifact_type: Option<&'a str>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        annotations: &'a BTreeMap<String, String>,
    }
    let line = Line {
        media_type: descriptor.media_type.as_str(),
        digest: descriptor.digest.to_string(),
        size: descriptor.size,
        artifact_type: descriptor.artifact_type.as_ref().map(MediaType::as_str),
        annotations,
    };
    serde_json::to_string(&line).map_err(Failure::failed)
}

//! `ocip check`.

use std::io::Write;
use std::time::Instant;

use indicatif::DecimalBytes;
use oci_proto::Finding;
use oci_proto::layout::Root;
use serde::Serialize;

use crate::args::{Check, Common};
use crate::output::{Failure, count};

pub(crate) fn run(command: &Check, common: &Common, out: &mut impl Write) -> Result<(), Failure> {
    let since = Instant::now();
    // Without a name, every root is checked.
    let root = Some(command.layout.root()).filter(|root| **root != Root::Only);
    let mut check =
        oci_proto_layout::check(command.layout.folder(), root).map_err(|error| Failure::of_layout(&error))?;
    let mut problems = 0;
    for finding in check.by_ref() {
        problems += 1;
        let line = if command.json { json(&finding)? } else { text(&finding) };
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    common.note(format_args!(
        "{}, {}; {} ms",
        count(check.contents(), "content"),
        DecimalBytes(check.bytes()),
        since.elapsed().as_millis()
    ));
    match problems {
        0 => Ok(()),
        _ => Err(Failure::failed(format_args!("{} in {}", count(problems, "problem"), command.layout))),
    }
}

fn text(finding: &Finding) -> String {
    let digest = finding.digest.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    format!("{:<13}  {digest}  {}", finding.problem, finding.detail)
}

fn json(finding: &Finding) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct Line<'a> {
        digest: Option<String>,
        problem: &'a str,
        detail: &'a str,
    }
    let line = Line {
        digest: finding.digest.as_ref().map(ToString::to_string),
        problem: finding.problem.as_str(),
        detail: &finding.detail,
    };
    serde_json::to_string(&line).map_err(Failure::failed)
}

//! `ocip check`.

use std::io::Write;
use std::time::Instant;

use indicatif::DecimalBytes;
use oci_proto::{Finding, Reference};
use oci_proto_layout::CheckProgress;
use serde::Serialize;

use crate::args::layout_name::LayoutName;
use crate::args::reference::AnyReference;
use crate::args::{CheckArgs, CommonArgs};
use crate::client::Client;
use crate::commands::leftovers::note_leftovers;
use crate::output::{Failure, count};
use crate::stderr::{draw_alone, suspend};

pub(crate) fn run(command: &CheckArgs, common: &CommonArgs, out: &mut impl Write) -> Result<(), Failure> {
    let problems = match &command.name {
        AnyReference::Registry(name) => registry(name, command, common, out),
        AnyReference::Layout(name) => layout(name, command, common, out),
    }?;
    out.flush()?;
    match problems {
        0 => {
            common.note(format_args!("no problems in {}", command.name));
            Ok(())
        }
        _ => Err(Failure::failed(format_args!("{} in {}", count(problems, "problem"), command.name))),
    }
}

/// Checks everything under a reference, and returns the number of problems.
fn registry(
    name: &Reference,
    command: &CheckArgs,
    common: &CommonArgs,
    out: &mut impl Write,
) -> Result<u64, Failure> {
    let client = Client::for_registry(name.registry(), common)?;
    let mut problems = 0;
    let mut written = Ok(());
    let checked = client.check(name, command.platform.as_ref(), &mut |finding| {
        problems += 1;
        if written.is_ok() {
            written = write(&finding, command, out);
        }
    });
    common.note(format_args!("{}", client.spent()));
    client.close();
    written?;
    checked?;
    Ok(problems)
}

/// Checks a layout, and returns the number of problems.
fn layout(
    name: &LayoutName,
    command: &CheckArgs,
    common: &CommonArgs,
    out: &mut impl Write,
) -> Result<u64, Failure> {
    if command.platform.is_some() {
        return Err(Failure::usage("--platform applies only to registries; a layout is checked in full"));
    }
    let since = Instant::now();
    let check = name.check().map_err(|error| Failure::of_opening(&error, name))?;
    let progress = draw_alone(Some(0), common.quiet);
    let bar = progress.clone();
    let mut check = check.on_progress(move |CheckProgress { read, of, .. }| {
        bar.set_length(of);
        bar.set_position(read);
    });
    let mut problems = 0;
    let mut written = Ok(());
    for finding in check.by_ref() {
        problems += 1;
        written = suspend(|| write(&finding, command, out));
        if written.is_err() {
            break;
        }
    }
    progress.finish_and_clear();
    written?;
    common.note(format_args!(
        "{}, {}; {} ms",
        count(check.contents(), "item"),
        DecimalBytes(check.bytes()),
        since.elapsed().as_millis()
    ));
    note_leftovers(check.layout(), common);
    Ok(problems)
}

fn write(finding: &Finding, command: &CheckArgs, out: &mut impl Write) -> Result<(), Failure> {
    let line = if command.format.json { json(finding)? } else { text(finding) };
    writeln!(out, "{line}")?;
    Ok(())
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

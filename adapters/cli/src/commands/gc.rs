//! `ocip gc`.

use std::io::Write;

use indicatif::DecimalBytes;
use oci_proto_layout::{Collected, GarbageOptions, LayoutError, LayoutErrorKind, Removed, collect_garbage};
use serde::Serialize;

use crate::args::CommonArgs;
use crate::args::garbage::GcArgs;
use crate::output::{Failure, count};

pub(crate) fn run(command: &GcArgs, common: &CommonArgs, out: &mut impl Write) -> Result<(), Failure> {
    let mut options = GarbageOptions::default();
    options.untagged = command.untagged;
    options.dry_run = command.dry_run;
    options.min_age = command.older_than;
    let mut written = Ok(());
    let collected = collect_garbage(&command.directory, &options, |removed| {
        // What is removed does not depend on the reader.
        if written.is_ok() {
            written = write(removed, command, out);
        }
    });
    let written = written.and_then(|()| Ok(out.flush()?));
    let collected = collected.map_err(|error| failure(&error, command))?;
    written?;
    for warning in &collected.warnings {
        common.note(format_args!("warning: skipped: {warning}"));
    }
    common.note(format_args!("{}", total(&collected, command)));
    Ok(())
}

fn write(removed: &Removed, command: &GcArgs, out: &mut impl Write) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Line<'a> {
        repository: &'a str,
        digest: String,
        size: u64,
    }
    let Removed { repository, digest, size, .. } = removed;
    if command.format.json {
        let line = Line { repository: repository.as_str(), digest: digest.to_string(), size: *size };
        writeln!(out, "{}", serde_json::to_string(&line).map_err(Failure::failed)?)?;
    } else {
        writeln!(out, "{repository} {digest} {size}")?;
    }
    Ok(())
}

fn total(collected: &Collected, command: &GcArgs) -> String {
    let removed = format!("{}, {}", count(collected.contents, "item"), DecimalBytes(collected.bytes));
    let temporary = match collected.temporary {
        0 => String::new(),
        files => {
            format!(", and {}, {}", count(files, "temporary file"), DecimalBytes(collected.temporary_bytes))
        }
    };
    let verb = if command.dry_run { "would remove" } else { "removed" };
    let repositories = match collected.repositories {
        1 => "1 repository".to_owned(),
        repositories => format!("{repositories} repositories"),
    };
    let recent = match collected.recent {
        0 => String::new(),
        contents => {
            let kept = format!("{}, {}", count(contents, "item"), DecimalBytes(collected.recent_bytes));
            format!("; kept {kept}, which nothing needs, but which --older-than keeps")
        }
    };
    format!("{verb} {removed}{temporary}; {repositories}{recent}")
}

/// Converts an error of the collection.
fn failure(error: &LayoutError, command: &GcArgs) -> Failure {
    let is_of_directory = error.path() == command.directory;
    match error.kind() {
        LayoutErrorKind::NotALayout(found) if is_of_directory => {
            let path = error.path().display();
            Failure::failed(format_args!("{path}: expected the directory of a registry, found {found}"))
                .with_hint(DIRECTORY)
        }
        LayoutErrorKind::Missing if is_of_directory => {
            Failure::failed(error).with_hint(format!("check the path; {DIRECTORY}"))
        }
        _ => Failure::failed(error),
    }
}

const DIRECTORY: &str = "the directory of a registry has an image layout for each repository";

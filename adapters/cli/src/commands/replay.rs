//! `ocip replay`.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write};

use oci_proto::record::{Player, ReplayError, Replayed};

use crate::args::recording::ReplayArgs;
use crate::output::{Failure, count};

/// The maximum length of a line, in bytes: far more than an escaped document on one line.
const LONGEST_LINE: u64 = 64 << 20;

pub(crate) fn run(command: &ReplayArgs, out: &mut impl Write) -> Result<(), Failure> {
    let unreadable =
        |error: io::Error| failed(command, format_args!("could not read the recording: {error}"));
    let mut file = BufReader::new(File::open(&command.file).map_err(unreadable)?);
    let (mut player, mut line, mut number) = (Player::new(), Vec::new(), 0_u64);
    loop {
        line.clear();
        if file.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        number += 1;
        let is_whole = line.pop_if(|last| *last == b'\n').is_some();
        let text = std::str::from_utf8(&line).map_err(|_| {
            failed(command, format_args!("line {number}: this is not a recording: it is not text"))
        })?;
        let step = player.push(text).map_err(|error| diverged(command, error, out))?;
        if let Some(step) = step.filter(|_| command.steps) {
            writeln!(out, "{step}")?;
        }
        if !is_whole {
            let problem = if line.len() as u64 == LONGEST_LINE { "is too long" } else { "is cut off" };
            return Err(failed(command, format_args!("line {number} {problem}; all before it is the same")));
        }
    }
    let replayed = player.finish().map_err(|error| diverged(command, error, out))?;
    if command.steps {
        writeln!(out, "{}", replayed.last)?;
    }
    writeln!(out, "{}", summary(&replayed))?;
    out.flush()?;
    Ok(())
}

fn summary(replayed: &Replayed) -> String {
    let (outputs, requests) = (count(replayed.outputs, "step"), count(replayed.exchanges, "request"));
    let unfinished = match replayed.unfinished {
        0 => String::new(),
        operations => format!("; {} had not ended", count(operations, "operation")),
    };
    format!("exact: {outputs}, {requests}{unfinished}")
}

/// Prints the step that differs, as it was recorded and as it is now.
fn diverged(command: &ReplayArgs, error: ReplayError, out: &mut impl Write) -> Failure {
    let failure = failed(command, format_args!("{error}"));
    match error {
        ReplayError::Divergence { version, recorded, replayed, .. } => {
            let written = writeln!(out, "expected:\n{recorded}\ngot:\n{replayed}").and_then(|()| out.flush());
            if let Err(error) = written {
                return error.into();
            }
            let this = env!("CARGO_PKG_VERSION");
            if version == this {
                return failure
                    .with_hint("the recording was changed, or made by another build of this version");
            }
            failure.with_hint(format!("recorded by version {version}, and this is {this}"))
        }
        ReplayError::NotARecording => failure.with_hint("`ocip record FILE -- COMMAND` creates recordings"),
        ReplayError::Format(_) => failure.with_hint("replay it with the version of ocip that recorded it"),
        _ => failure,
    }
}

fn failed(command: &ReplayArgs, problem: fmt::Arguments<'_>) -> Failure {
    Failure::failed(format_args!("{}: {problem}", command.file.display()))
}

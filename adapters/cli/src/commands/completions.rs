//! `ocip completions`.

use std::io::Write;

use crate::args::CompletionsArgs;
use crate::args::command_line::definition;
use crate::output::Failure;

pub(crate) fn run(command: &CompletionsArgs, out: &mut impl Write) -> Result<(), Failure> {
    // Generated in memory, since the generator panics if a write fails.
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut definition(), "ocip", &mut script);
    out.write_all(&script)?;
    out.flush()?;
    Ok(())
}

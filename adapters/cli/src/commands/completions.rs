//! `ocip completions`.

use std::io::Write;

use crate::args::{Cli, CompletionsArgs};
use crate::output::Failure;

pub(crate) fn run(command: &CompletionsArgs, out: &mut impl Write) -> Result<(), Failure> {
    // Generated in memory, since the generator panics if a write fails.
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Cli::definition(), "ocip", &mut script);
    out.write_all(&script)?;
    out.flush()?;
    Ok(())
}

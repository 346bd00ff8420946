//! `ocip completions`.

use std::io::Write;

use clap::CommandFactory as _;

use crate::args::{Cli, Completions};
use crate::output::Failure;

pub(crate) fn run(command: &Completions, out: &mut impl Write) -> Result<(), Failure> {
    // Into memory first: the generator panics where a write fails.
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Cli::command(), "ocip", &mut script);
    out.write_all(&script)?;
    out.flush()?;
    Ok(())
}

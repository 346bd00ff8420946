//! `ocip generate`.

use std::fs;
use std::io;
use std::path::Path;

use clap_complete::Shell;

use crate::args::command_line::definition;
use crate::args::{CommonArgs, GenerateArgs};
use crate::output::Failure;

pub(crate) fn run(command: &GenerateArgs, common: &CommonArgs) -> Result<(), Failure> {
    let directory = &command.directory;
    write(directory).map_err(|error| {
        Failure::failed(format_args!("could not write to {}: {error}", directory.display()))
    })?;
    common.note(format_args!("wrote man pages and completion scripts to {}", directory.display()));
    Ok(())
}

fn write(directory: &Path) -> io::Result<()> {
    let man = directory.join("man/man1");
    fs::create_dir_all(&man)?;
    clap_mangen::generate_to(definition(), &man)?;
    for (shell, place) in [
        (Shell::Bash, "bash-completion/completions/ocip"),
        (Shell::Zsh, "zsh/site-functions/_ocip"),
        (Shell::Fish, "fish/vendor_completions.d/ocip.fish"),
    ] {
        let path = directory.join(place);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        // Generated in memory, since the generator panics if a write fails.
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut definition(), "ocip", &mut script);
        fs::write(path, script)?;
    }
    Ok(())
}

//! The arguments of `ocip record` and `ocip replay`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::args::mistake::Mistake;

/// Run a command, and record its conversation with registries.
#[derive(Args, Debug)]
#[command(
    override_usage = "ocip record [--bodies] <FILE> -- <COMMAND>...",
    after_help = "\
COMMAND is any command of ocip that contacts a registry, with its options. It runs as usual, and \
its conversation is written to FILE as it happens: requests, responses, faults, times. FILE is text \
to read, to send with a report, and to replay with `ocip replay` without a network. It must not exist yet.

Passwords, tokens, and the queries of URLs from servers are replaced with names, such as SECRET-1. \
The names of registries and repositories, user names, and all documents (indexes, manifests, lists) \
are in FILE as they are: read it before you share it. Of blobs it has only digests and sizes, unless \
--bodies is given.

The exit status is that of COMMAND, or 1 if FILE could not be written completely.

Examples:
  ocip record bug.txt -- resolve registry.example/team/app:1.2
  ocip record --bodies bug.txt -- pull alpine mirror
  ocip replay bug.txt"
)]
pub(crate) struct RecordArgs {
    /// Also record the bytes of blobs, in Base64. They are held in memory until each is complete.
    #[arg(long)]
    pub(crate) bodies: bool,
    /// File to create.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Command to run, with its options.
    // Its absence is explained with an example.
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

impl RecordArgs {
    /// The words of the command to run, without the name of this program.
    pub(super) fn words(&self) -> Result<&[OsString], Mistake> {
        let words = match &self.command[..] {
            [program, rest @ ..] if program == "ocip" => rest,
            words => words,
        };
        if words.is_empty() {
            let mistake = Mistake::new("there is no command to record");
            return Err(mistake.with_hint("add it after `--`, as in `ocip record FILE -- resolve alpine`"));
        }
        Ok(words)
    }
}

/// Replay a recorded conversation without a network, and compare.
#[derive(Args, Debug)]
#[command(after_help = "\
Gives the responses in FILE, which `ocip record` wrote, to the protocol of this version of ocip, step \
by step, and compares what it does with what was recorded. Contacts no registry, reads no login and \
writes no content.

If all of it is the same, prints a summary. Otherwise prints the first step that differs, as it was \
recorded and as it is now, and the exit status is 1.

Examples:
  ocip replay bug.txt
  ocip replay --steps bug.txt | less")]
pub(crate) struct ReplayArgs {
    /// Print each step when it has been replayed.
    #[arg(long)]
    pub(crate) steps: bool,
    /// File that `ocip record` wrote.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

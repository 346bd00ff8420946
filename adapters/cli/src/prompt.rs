//! Questions on the terminal.

use std::fmt;
use std::io;

use console::Term;
use oci_proto::Registry;

use crate::output::Failure;

/// Asks for the user name, unless it is given, and for the password, which is not shown.
pub(crate) fn name_and_password(
    registry: &Registry,
    name: Option<&str>,
) -> Result<(String, String), Failure> {
    let terminal = Term::stderr();
    if !io::IsTerminal::is_terminal(&io::stdin()) || !terminal.is_term() {
        let usage = Failure::usage("there is no terminal to ask for the login on");
        return Err(usage.with_hint("use --username NAME and --password-stdin"));
    }
    let failed = |error: io::Error| Failure::failed(format_args!("could not read the login: {error}"));
    let name = if let Some(name) = name {
        name.to_owned()
    } else {
        ask(&terminal, format_args!("User name for {registry}: ")).map_err(failed)?;
        terminal.read_line().map_err(failed)?
    };
    ask(&terminal, format_args!("Password of {name} for {registry} (not shown): ")).map_err(failed)?;
    show_input_before_end()?;
    let password = terminal.read_secure_line().map_err(failed)?;
    match (name.is_empty(), password.is_empty()) {
        (true, _) => Err(Failure::usage("the user name is empty")),
        (false, true) => Err(Failure::usage("the password is empty")),
        (false, false) => Ok((name, password)),
    }
}

fn ask(terminal: &Term, question: fmt::Arguments<'_>) -> io::Result<()> {
    terminal.write_str(&question.to_string())?;
    terminal.flush()
}

/// Restores the terminal if a signal ends the command.
#[cfg(unix)]
fn show_input_before_end() -> Result<(), Failure> {
    use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

    let failed = |error: io::Error| Failure::failed(format_args!("could not read the login: {error}"));
    let state = tcgetattr(io::stdin()).map_err(|error| failed(error.into()))?;
    let restore = move || {
        // The command ends anyway.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &state);
    };
    crate::signals::before_end(restore).map_err(failed)
}

/// Without signals, Ctrl-C ends the process at once.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
fn show_input_before_end() -> Result<(), Failure> {
    Ok(())
}

//! Usage errors and help, as clap reports them.

use std::env;
use std::error::Error as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};

use crate::args::mistake::Mistake;
use crate::output::Failure;
use crate::stderr::print_line;

/// Prints help or a usage error, and returns the exit status.
pub(super) fn print(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if !error.use_stderr() {
        let mut out = io::stdout().lock();
        return match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => Failure::from(error).report(),
        };
    }
    let mistake = error.source().and_then(|source| source.downcast_ref());
    let foreign = || foreign_option(error).or_else(|| foreign_command(error));
    if let Some(mistake) = mistake.or(foreign().as_ref()) {
        return Failure::from(mistake).report();
    }
    // The text quotes arguments.
    for line in once(error, text).lines() {
        print_line(format_args!("{line}"));
    }
    ExitCode::from(2)
}

const WITHOUT_ARGUMENT: &str =
    "use --username NAME with --password-stdin, since other users can see arguments";

/// An option of other programs for registries.
fn foreign_option(error: &clap::Error) -> Option<Mistake> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let option = error.get(ContextKind::InvalidArg)?.to_string();
    let mistake = Mistake::new(format!("unexpected argument '{option}' found"));
    match option.as_str() {
        // Not a letter of several in one argument.
        "--recursive" | "-r" | "-R" if is_argument(&option) => Some(mistake.without(option)),
        "--insecure" | "--tls-verify" | "--src-tls-verify" | "--dest-tls-verify" => Some(mistake.with_hint(
            "use --plain-http to connect without TLS, or --ca-file FILE to trust a private authority",
        )),
        "--cert-dir" | "--src-cert-dir" | "--dest-cert-dir" => Some(mistake.with_hint(
            "use --ca-file FILE to trust a private authority, or --cert FILE and --key FILE to present a \
                 client certificate",
        )),
        "-u" if is_argument("login") => Some(mistake.with_hint("use --username NAME")),
        "-p" if is_argument("login") => Some(mistake.with_hint(WITHOUT_ARGUMENT)),
        "--password" | "--creds" | "--src-creds" | "--dest-creds" => {
            Some(mistake.with_hint(WITHOUT_ARGUMENT))
        }
        "--src-authfile" | "--dest-authfile" => {
            Some(mistake.with_hint("use --auth-file FILE with the logins of both registries"))
        }
        "--all" | "-a" | "--multi-arch" if ["copy", "pull", "push"].iter().any(|word| is_argument(word)) => {
            Some(mistake.with_hint(
                "omit it: without --platform, all platforms are included; --all-tags copies all tags",
            ))
        }
        "--override-os" | "--override-arch" | "--override-variant" => {
            Some(mistake.with_hint("use --platform os/arch[/variant]"))
        }
        "--port" => Some(mistake.with_hint("use --listen ADDRESS:PORT")),
        _ => None,
    }
}

fn is_argument(word: &str) -> bool {
    env::args_os().any(|argument| argument == word)
}

/// A command of other programs for registries.
fn foreign_command(error: &clap::Error) -> Option<Mistake> {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    let command = error.get(ContextKind::InvalidSubcommand)?.to_string();
    let mistake = Mistake::new(format!("unrecognized subcommand '{command}'"));
    match command.as_str() {
        "cp" | "sync" => Some(mistake.instead(command, "copy")),
        "ls" | "list" | "list-tags" => Some(mistake.instead(command, "tags")),
        "digest" => Some(mistake.instead(command, "resolve")),
        "discover" => Some(mistake.instead(command, "referrers")),
        "rm" | "rmi" => Some(mistake.instead(command, "delete")),
        "inspect" => Some(mistake.with_hint("use `ocip config`, `ocip manifest` or `ocip tree`")),
        _ => None,
    }
}

/// Removes the value from the beginning of a text that quotes it again.
fn once(error: &clap::Error, text: String) -> String {
    let quotes = error.source().is_some_and(|source| source.to_string().starts_with('`'));
    match error.get(ContextKind::InvalidValue) {
        Some(value) if quotes => {
            text.replacen(&format!("invalid value '{value}' for"), "invalid value for", 1)
        }
        _ => text,
    }
}

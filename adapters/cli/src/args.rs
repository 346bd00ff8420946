//! What the command line says.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use oci_proto::{Platform, Reference};

use crate::login::Login;

/// Resolves references and walks index trees in container registries.
#[derive(Debug, Parser)]
#[command(
    name = "ocip",
    version,
    max_term_width = 80,
    arg_required_else_help = true,
    after_help = "\
Results go to stdout; progress, warnings and errors to stderr.
Exit status: 0 done; 1 the registry, the network or the content failed it; 2 wrong usage.

Examples:
  ocip demo         see it work, without a network
  ocip tree alpine  what is under docker.io/library/alpine:latest
  ocip help tree    more about one command"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Resolve(Resolve),
    Manifest(Manifest),
    Tree(Tree),
    Blob(Blob),
    Demo(Demo),
    Completions(Completions),
}

/// Prints what a reference names: media type, digest and size.
#[derive(Args, Debug)]
#[command(after_help = "\
Prints three lines, each a name and a value: mediaType, digest, size. The names are those of a \
descriptor, and of --json.

Examples:
  ocip resolve alpine
  ocip resolve --platform linux/arm64/v8 alpine:3.20
  ocip resolve alpine | awk '$1 == \"digest\" {print $2}'
  ocip resolve --json registry.example:5000/team/app:1.2")]
pub(crate) struct Resolve {
    #[command(flatten)]
    pub(crate) asked: Asked,
    /// Print {"mediaType", "digest", "size"} in one line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Writes the manifest that a reference names: its exact bytes.
#[derive(Args, Debug)]
#[command(after_help = "\
The bytes are verified, and written as they came: no newline is added, so that their digest is \
still the one that names them.

Examples:
  ocip manifest alpine
  ocip manifest --platform linux/amd64 alpine | jq .layers
  ocip manifest alpine | sha256sum")]
pub(crate) struct Manifest {
    #[command(flatten)]
    pub(crate) asked: Asked,
}

/// Prints the tree under a reference: indexes, images, artifacts.
#[derive(Args, Debug)]
#[command(after_help = "\
Each line is a node: its kind (index, image or other), the beginning of its digest, its size, its \
platform, and its type where the kind does not tell it, without \"application/\". A node that was \
there before is marked as repeated, and what is under it is not shown again; one that the registry \
does not have is marked as missing. Nodes are printed as they come, parents first.

With --json, each line is an object with \"depth\", \"mediaType\", \"digest\", \"size\", \"kind\" and, where \
there is one, \"platform\", \"artifactType\", \"repeated\": true, \"missing\": true.

Examples:
  ocip tree alpine
  ocip tree --blobs --platform linux/amd64 alpine
  ocip tree --json alpine | jq -r 'select(.kind == \"image\") | .digest'")]
pub(crate) struct Tree {
    #[command(flatten)]
    pub(crate) asked: Asked,
    /// Show the config and the layers of each image too.
    #[arg(long)]
    pub(crate) blobs: bool,
    /// Fail where the registry lacks a manifest that an index names.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Fetches a blob and verifies it.
#[derive(Args, Debug)]
#[command(after_help = "\
The file that --output names appears once its content is verified, and not before. What goes to \
stdout is verified as it goes: only the exit status tells whether all of it was right.

Examples:
  ocip blob -o layer.tar.gz alpine@sha256:0123...cdef
  ocip blob registry.example/team/app@sha256:0123...cdef | tar -tz")]
pub(crate) struct Blob {
    /// The repository, and the blob's digest.
    #[arg(value_name = "REPOSITORY@DIGEST", value_parser = blob)]
    pub(crate) name: Reference,
    /// Write to FILE; "-" means stdout, even where that is a terminal.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Accept exactly this many bytes.
    #[arg(long, value_name = "BYTES")]
    pub(crate) size: Option<u64>,
}

/// Resolves and walks a sample in an embedded registry; needs no network.
#[derive(Args, Debug)]
#[command(after_help = "\
Starts a registry in this process, on a free port of 127.0.0.1, filled with a nested \
multi-platform index. Resolves and walks it with each adapter, and checks that both saw the same.

Examples:
  ocip demo
  ocip demo --keep")]
pub(crate) struct Demo {
    /// Keep the registry until Ctrl-C, to try other commands against it.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Prints a completion script for a shell.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ocip completions bash > ~/.local/share/bash-completion/completions/ocip
  ocip completions zsh > ~/.zfunc/_ocip
  ocip completions fish > ~/.config/fish/completions/ocip.fish")]
pub(crate) struct Completions {
    pub(crate) shell: clap_complete::Shell,
}

/// What most commands ask for.
#[derive(Args, Debug)]
pub(crate) struct Asked {
    /// `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`.
    #[arg(value_name = "REF", value_parser = reference)]
    pub(crate) reference: Reference,
    /// In an index, choose what fits this platform best: os/arch[/variant].
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,
}

/// What every command takes.
#[derive(Args, Debug)]
pub(crate) struct Common {
    /// What carries out the requests.
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Connection")]
    pub(crate) adapter: Adapter,
    /// Speak to every registry without TLS; otherwise only to those on this machine.
    #[arg(long, global = true, help_heading = "Connection")]
    pub(crate) plain_http: bool,
    /// Trust the certificate authorities in this PEM file too.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Have at most this many requests under way at once.
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..=256),
        help_heading = "Connection"
    )]
    pub(crate) in_flight: u16,
    /// Try a request that fails for no lasting reason again, at most this often in a row.
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 4,
        value_parser = clap::value_parser!(u32).range(0..=100),
        help_heading = "Connection"
    )]
    pub(crate) retries: u32,
    /// Give up after this long in all; decimals are allowed.
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds, help_heading = "Connection")]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) login: Login,
    /// Say on stderr what was done.
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Say nothing on stderr but errors.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Adapter {
    // Asynchronous, on one thread.
    #[default]
    Tokio,
    // Blocking, on a few threads.
    Ureq,
}

impl Adapter {
    pub(crate) const ALL: [Self; 2] = [Self::Tokio, Self::Ureq];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Ureq => "ureq",
        }
    }
}

/// Reads a reference, and knows what people paste instead.
fn reference(text: &str) -> Result<Reference, String> {
    let Some((_, rest)) = text.split_once("://") else {
        return text.parse().map_err(|problem: oci_proto::InvalidReference| problem.to_string());
    };
    let rest = rest.trim_end_matches('/');
    let instead = match rest.strip_prefix("hub.docker.com/") {
        Some(page) => page.trim_start_matches("r/").trim_start_matches("_/"),
        None => rest,
    };
    match instead.parse::<Reference>() {
        Ok(_) => Err(format!("a reference has no scheme; write `{instead}`")),
        Err(_) => Err("a URL is not a reference; write [REGISTRY/]REPOSITORY[:TAG][@DIGEST]".to_owned()),
    }
}

fn blob(text: &str) -> Result<Reference, String> {
    let reference = reference(text)?;
    if reference.digest().is_some() {
        return Ok(reference);
    }
    Err("a blob is named by its digest, as in alpine@sha256:0123...cdef; \
         `ocip tree --blobs --json REF` lists those of an image"
        .to_owned())
}

fn seconds(text: &str) -> Result<Duration, &'static str> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or("a number of seconds above 0 is needed")
}

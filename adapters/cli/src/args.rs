//! What the command line says.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::error::ContextValue;
use clap::{Arg, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use oci_proto::{Platform, Repository, without_user_info};
use oci_proto_layout::LayoutReference;

use crate::login::Login;

mod name;

pub(crate) use name::Name;

/// Looks into container registries and image layouts, and verifies all that it reads.
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

impl Cli {
    /// Reads the command line; where it cannot be, or is answered by help, ends the process.
    pub(crate) fn read() -> Self {
        let mut command = Self::command();
        // What holds for every command is given to each of them by this.
        command.build();
        for name in ["serve", "completions"] {
            command = command.mut_subcommand(name, |command| command.mut_args(hide_unless_its_own));
        }
        let matches = command.try_get_matches().unwrap_or_else(|error| without_passwords(error).exit());
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// An error shows again what was typed, be it a value, a command or a word too much.
fn without_passwords(mut error: clap::Error) -> clap::Error {
    let typed = error.context().filter_map(|(kind, value)| match value {
        ContextValue::String(text) => Some((kind, ContextValue::String(without_user_info(text)))),
        _ => None,
    });
    for (kind, shown) in typed.collect::<Vec<_>>() {
        error.insert(kind, shown);
    }
    error
}

/// A command that asks no registry takes the options for that, as every command does, and does not show them.
fn hide_unless_its_own(option: Arg) -> Arg {
    let is_of_registries = option.get_help_heading().is_some();
    option.hide(is_of_registries)
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Resolve(Resolve),
    Manifest(Manifest),
    Tree(Tree),
    Blob(Blob),
    Pull(Pull),
    Check(Check),
    Serve(Serve),
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
  ocip tree --json alpine | jq -r 'select(.kind == \"image\") | .digest'
  ocip tree oci:mirror:1.0")]
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
  ocip blob registry.example/team/app@sha256:0123...cdef | tar -tz
  ocip blob oci:mirror@sha256:0123...cdef | tar -tz")]
pub(crate) struct Blob {
    /// The repository, or the layout as `oci:DIR`, and the blob's digest.
    #[arg(value_name = "REPOSITORY@DIGEST", value_parser = OsStringValueParser::new().try_map(Name::of_blob))]
    pub(crate) name: Name,
    /// Write to FILE; "-" means stdout, even where that is a terminal.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Accept exactly this many bytes.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) size: Option<u64>,
}

/// Takes everything under a reference into an image layout on disk.
#[derive(Args, Debug)]
#[command(after_help = "\
Manifests, configs and layers are verified and written to DIR, which becomes an image layout if it \
is empty or not there. The reference's tag names the root in the layout. What DIR has already is \
not fetched again, and a pull that was interrupted goes on where it stopped. Documents are written \
after all that they name, so that the layout is whole at every moment.

Prints what the reference names, as `ocip resolve` does.

Examples:
  ocip pull alpine:3.20 mirror
  ocip pull --platform linux/amd64 alpine mirror
  ocip pull registry.example/team/app:1.2 mirror && ocip tree oci:mirror:1.2")]
pub(crate) struct Pull {
    /// `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`.
    #[arg(value_name = "REF", value_parser = OsStringValueParser::new().try_map(Name::parse))]
    pub(crate) name: Name,
    /// In an index, take only what fits this platform best: os/arch[/variant].
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,
    /// The layout's folder.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Read what is there already, and fetch it again where it is damaged.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Take layers that may not be distributed too, from the URLs that their descriptors give.
    #[arg(long)]
    pub(crate) foreign_layers: bool,
    /// Print {"mediaType", "digest", "size"} in one line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Checks a registry or a layout: verifies everything, and tells all that is wrong.
#[derive(Args, Debug)]
#[command(after_help = "\
Everything under a reference, or under all roots of a layout, is read, blobs included, and every byte \
is verified. Each line is a problem: what sort it is, the digest of what is wrong (or -), and the \
details. The exit status is 1 where there is any. In a layout, links are not followed.

The sorts: missing, not-a-file, wrong-size, wrong-content, malformed, contradiction, unverifiable, \
unreadable, limit.

With --json, each line is an object with \"digest\" (or null), \"problem\" and \"detail\".

Examples:
  ocip check registry.example/team/app:1.2
  ocip check oci:mirror
  ocip check --json oci:mirror:1.0 | jq -r .digest")]
pub(crate) struct Check {
    /// `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`, `oci:DIR[:TAG]`, `oci:DIR[@DIGEST]`, or a folder that is a layout.
    #[arg(value_name = "REF|DIR", value_parser = OsStringValueParser::new().try_map(name::to_check))]
    pub(crate) name: Name,
    /// In a registry's index, check only what fits this platform best: os/arch[/variant].
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Serves an image layout as a registry, until Ctrl-C.
#[derive(Args, Debug)]
#[command(after_help = "\
Each root of the layout is served under its name: a tag in the repository that --repository names; \
a longer name, such as team/app:1.0, as the repository and tag that it says. The only root of a \
layout is served as latest, if it has no name. The first line on stdout says where the registry is, \
and one more for each root how to pull it. Nothing can be pushed.

Examples:
  ocip serve mirror
  ocip serve --listen 0.0.0.0:80 --repository team/app oci:mirror:1.0")]
pub(crate) struct Serve {
    /// The layout's folder, or `oci:DIR[:TAG]` for one of its roots alone.
    #[arg(value_name = "DIR", value_parser = OsStringValueParser::new().try_map(name::layout))]
    pub(crate) layout: LayoutReference,
    /// Listen here; port 0 is any that is free.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000", value_parser = address)]
    pub(crate) listen: SocketAddr,
    /// Serve tags in this repository.
    #[arg(long, value_name = "NAME", default_value = "layout")]
    pub(crate) repository: Repository,
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
    /// `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`, or in an image layout `oci:DIR[:TAG]` or `oci:DIR[@DIGEST]`.
    #[arg(value_name = "REF", value_parser = OsStringValueParser::new().try_map(Name::parse))]
    pub(crate) name: Name,
    /// In an index, choose what fits this platform best: os/arch[/variant].
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,
}

/// What every command takes.
#[derive(Args, Debug)]
pub(crate) struct Common {
    /// The client underneath: tokio is asynchronous, ureq blocks; the results are the same.
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Connection")]
    pub(crate) adapter: Adapter,
    /// Speak to every registry without TLS; otherwise only to those on this machine.
    #[arg(long, global = true, help_heading = "Connection")]
    pub(crate) plain_http: bool,
    /// Trust the certificate authorities in this PEM file too, and speak TLS to this machine as well.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Have at most this many requests under way at once.
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 8,
        allow_negative_numbers = true,
        value_parser = whole(1..=256_u16),
        help_heading = "Connection"
    )]
    pub(crate) in_flight: u16,
    /// Try a request again that fails for no lasting reason, at most this often in a row.
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 4,
        allow_negative_numbers = true,
        value_parser = whole(0..=100_u32),
        help_heading = "Connection"
    )]
    pub(crate) retries: u32,
    /// Give up after this long in all; decimals are allowed.
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        allow_negative_numbers = true,
        value_parser = seconds,
        help_heading = "Connection"
    )]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) login: Login,
    /// Say on stderr what is tried again, and what it took in all.
    #[arg(short, long, global = true, conflicts_with = "quiet", overrides_with = "verbose")]
    pub(crate) verbose: bool,
    /// Say nothing on stderr but errors: no warnings, sums or progress.
    #[arg(short, long, global = true, overrides_with = "quiet")]
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

fn seconds(text: &str) -> Result<Duration, &'static str> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or("a number of seconds above 0 is needed")
}

fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + fmt::Display + Clone,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("a whole number from {} to {} is needed", range.start(), range.end()))
    }
}

fn bytes(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "a whole number of bytes is needed, without a unit")
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "an IP address and a port are needed, as in 127.0.0.1:5000 or [::1]:5000")
}

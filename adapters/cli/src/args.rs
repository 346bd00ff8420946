//! The commands and options.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand, ValueEnum};
use oci_proto::Platform;

use crate::args::accounts::{LoginCommandArgs, LogoutArgs};
use crate::args::format::{DescriptorFormat, LineFormat};
use crate::args::garbage::GcArgs;
use crate::args::reach::ReachArgs;
use crate::args::recording::{RecordArgs, ReplayArgs};
use crate::args::reference::AnyReference;
use crate::args::registries_conf::RegistriesConfArgs;
use crate::args::registry::{DeleteArgs, ReferrersArgs, TagsArgs};
use crate::args::selection::SelectionArgs;
use crate::args::serving::ServeArgs;
use crate::args::values::{bytes, integer_in, seconds};
use crate::args::writing::{ArtifactCommandArgs, AttachArgs, CopyArgs, PushArgs, TagArgs};
use crate::login::LoginArgs;
use crate::recording::Recording;

pub(crate) mod accounts;
pub(crate) mod all_tags;
pub(crate) mod command_line;
pub(crate) mod ends;
pub(crate) mod file;
mod format;
pub(crate) mod garbage;
pub(crate) mod layout_name;
pub(crate) mod mistake;
pub(crate) mod pull_source;
mod reach;
pub(crate) mod recording;
pub(crate) mod reference;
pub(crate) mod registries_conf;
pub(crate) mod registry;
pub(crate) mod selection;
pub(crate) mod server_access;
pub(crate) mod serving;
mod usage_error;
mod values;
pub(crate) mod writing;

/// Read, copy, push, check and serve container images, all verified by digest.
#[derive(Debug, Parser)]
#[command(
    name = "ocip",
    version,
    max_term_width = 80,
    arg_required_else_help = true,
    after_help = "\
Results go to stdout; progress, warnings and errors go to stderr.

Exit status:
  0  success
  1  registry, network or content error, or the reader of stdout closed it
  2  usage error

Examples:
  ocip demo         try ocip without a network
  ocip tree alpine  show the tree under docker.io/library/alpine:latest
  ocip help tree    show the help of one command"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Resolve(ResolveArgs),
    Manifest(ManifestArgs),
    Tree(TreeArgs),
    Blob(BlobArgs),
    Pull(PullArgs),
    Check(CheckArgs),
    Tags(TagsArgs),
    Referrers(ReferrersArgs),
    Delete(DeleteArgs),
    Config(ConfigArgs),
    Copy(CopyArgs),
    Push(PushArgs),
    Tag(TagArgs),
    Attach(AttachArgs),
    Artifact(ArtifactCommandArgs),
    Login(LoginCommandArgs),
    Logout(LogoutArgs),
    Serve(ServeArgs),
    Gc(GcArgs),
    Record(RecordArgs),
    Replay(ReplayArgs),
    Demo(DemoArgs),
    Completions(CompletionsArgs),
    Generate(GenerateArgs),
}

/// Resolve a reference to a media type, digest and size.
#[derive(Args, Debug)]
#[command(after_help = "\
Prints three lines, each with a name and a value: mediaType, digest, size. The names are those of a \
descriptor and of --json.

Examples:
  ocip resolve alpine
  ocip resolve --platform linux/arm64/v8 alpine:3.20
  ocip resolve alpine | awk '$1 == \"digest\" {print $2}'
  ocip resolve --json registry.example:5000/team/app:1.2")]
pub(crate) struct ResolveArgs {
    #[command(flatten)]
    pub(crate) asked: ReferenceArgs,
    #[command(flatten)]
    pub(crate) format: DescriptorFormat,
}

/// Write the exact bytes of a manifest.
#[derive(Args, Debug)]
#[command(after_help = "\
The bytes are verified and written exactly as received. No newline is added, so they still match \
their digest. On a terminal, control characters are escaped.

Examples:
  ocip manifest alpine
  ocip manifest --platform linux/amd64 alpine | jq .layers
  ocip manifest alpine | sha256sum")]
pub(crate) struct ManifestArgs {
    #[command(flatten)]
    pub(crate) asked: ReferenceArgs,
    /// Do not escape control characters on a terminal.
    #[arg(long)]
    pub(crate) raw: bool,
}

/// Print the tree under a reference: indexes, images, artifacts.
#[derive(Args, Debug)]
#[command(after_help = "\
Each line is a node: its kind (index, image, config, layer or other), its digest, its size, its \
platform, and, unless the kind implies it, its type without \"application/\". On a terminal the \
digest is shortened, unless --full is given. A node that was already printed is marked as repeated, \
and its children are not printed again; a node that the registry lacks is marked as missing. Nodes \
are printed as they arrive, parents first.

With --json, each line is an object with \"depth\", \"mediaType\", \"digest\", \"size\", \"kind\" and, if \
applicable, \"platform\", \"artifactType\", \"repeated\": true, \"missing\": true.

Examples:
  ocip tree alpine
  ocip tree --blobs --full --platform linux/amd64 alpine
  ocip tree --json alpine | jq -r 'select(.kind == \"image\") | .digest'
  ocip tree oci:mirror:1.0")]
pub(crate) struct TreeArgs {
    #[command(flatten)]
    pub(crate) asked: ReferenceArgs,
    /// Also print the config and the layers of each image.
    #[arg(long)]
    pub(crate) blobs: bool,
    /// Print whole digests, also on a terminal.
    #[arg(long)]
    pub(crate) full: bool,
    /// Fail if the registry lacks a manifest that an index names.
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) format: LineFormat,
}

/// Fetch and verify a blob.
#[derive(Args, Debug)]
#[command(after_help = "\
The file that --output names is created or replaced only after its content is verified. Output to \
stdout is verified while it is written: only the exit status shows whether all of it is valid. An \
interrupted `ocip blob` leaves no file, and the next one starts at the first byte; `ocip pull` resumes.

Examples:
  ocip blob -o layer.tar.gz alpine@sha256:0123...cdef
  ocip blob registry.example/team/app@sha256:0123...cdef | tar -tz
  ocip blob oci:mirror@sha256:0123...cdef | tar -tz")]
pub(crate) struct BlobArgs {
    /// Repository (or layout, as `oci:DIR` or `oci-archive:FILE`) and digest of the blob.
    #[arg(value_name = "REPOSITORY@DIGEST", value_parser = OsStringValueParser::new().try_map(AnyReference::of_blob))]
    pub(crate) name: AnyReference,
    /// Write to FILE; "-" means stdout, even if it is a terminal, where control characters are escaped.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Fail unless the blob has exactly this many bytes.
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) size: Option<u64>,
    /// Write to stdout as it is, even if it is a terminal.
    #[arg(long, conflicts_with = "output")]
    pub(crate) raw: bool,
}

/// Copy everything under a reference into an image layout on disk.
#[derive(Args, Debug)]
#[command(after_help = "\
Manifests, configs and layers are verified and written to DIR, which becomes an image layout if it \
is empty or does not exist. The reference's tag names the root in the layout. Content that DIR \
already has is not fetched again, and an interrupted pull is resumed. Each document is written \
after everything that it names, so the layout is complete at every moment, even if the power fails. \
Nothing is created before REF is resolved.

Of the content that DIR already has, documents (indexes and manifests) are always verified. Configs \
and layers are only checked to have the right size; --verify also reads and verifies them.

Referrers are manifests whose subject is in the tree, such as signatures and SBOMs. With --referrers \
they become roots without a name in the layout.

With --all-tags, REF is a repository without a tag, and each of its tags names a root; see `ocip help copy`.

Otherwise prints the media type, digest and size of the root, as `ocip resolve` does.

Examples:
  ocip pull alpine:3.20 mirror
  ocip pull --all-tags registry.example/team/app mirror
  ocip pull --platform linux/amd64 alpine mirror
  ocip pull registry.example/team/app:1.2 mirror && ocip tree oci:mirror:1.2")]
pub(crate) struct PullArgs {
    /// `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`; with --all-tags, `[REGISTRY/]REPOSITORY`.
    // Parsed together with the directory, since they may be swapped.
    #[arg(value_name = "REF")]
    pub(crate) name: OsString,
    /// Directory of the layout.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
    /// Also verify the configs and layers that DIR already has, and fetch them again if they are damaged.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Do not wait until files are on disk. Faster, but a power failure during or soon after the pull may damage DIR.
    #[arg(long)]
    pub(crate) no_sync: bool,
    /// Also fetch nondistributable layers, from the URLs in their descriptors.
    #[arg(long)]
    pub(crate) foreign_layers: bool,
    #[command(flatten)]
    pub(crate) format: DescriptorFormat,
}

/// Verify all content of a reference or layout, and list problems.
#[derive(Args, Debug)]
#[command(after_help = "\
Reads everything under a reference, or under all roots of a layout, including blobs, and verifies \
every byte. Each line is a problem: its type, the digest of the affected content (or -), and the \
details. The exit status is 1 if there are any problems. Links in a layout are not followed. A name \
without a registry, tag or digest is a directory.

Problem types: missing, not-a-file, wrong-size, wrong-content, malformed, contradiction, \
unverifiable, unreadable, limit.

With --json, each line is an object with \"digest\" (or null), \"problem\" and \"detail\".

Examples:
  ocip check registry.example/team/app:1.2
  ocip check oci:mirror
  ocip check --json oci:mirror:1.0 | jq -r .digest")]
pub(crate) struct CheckArgs {
    /// `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`, `oci:DIR[:TAG]`, `oci:DIR[@DIGEST]`, `oci-archive:FILE[:TAG]`, or a layout's directory.
    #[arg(value_name = "REF|DIR", value_parser = OsStringValueParser::new().try_map(reference::to_check))]
    pub(crate) name: AnyReference,
    /// In a registry's index, check only the best match for this platform: os/arch[/variant].
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,
    #[command(flatten)]
    pub(crate) format: LineFormat,
}

/// Print the config of an image.
#[derive(Args, Debug)]
#[command(after_help = "\
The config has the image's environment, entry point, user, layers and history. It is verified, and \
printed as indented JSON, with --json on one line. `ocip blob` writes its exact bytes.

Examples:
  ocip config --platform linux/amd64 alpine
  ocip config --json oci-archive:app.tar | jq .config.Env")]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    pub(crate) asked: ReferenceArgs,
    /// Print the config on one line.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Read, copy and extend a sample in embedded registries, offline.
#[derive(Args, Debug)]
#[command(after_help = "\
Starts two registries in this process, on free ports of 127.0.0.1, one of them with a nested \
multi-platform index. Resolves and walks it with each adapter, copies it with one to the other \
registry, attaches a file to the copy with the other adapter, and checks that the results are \
identical. The registries are in memory, and everyone on this machine may push to them.

Examples:
  ocip demo
  ocip demo --keep")]
pub(crate) struct DemoArgs {
    /// Keep the registries running until Ctrl-C, for use with other commands.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Print a completion script for a shell.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ocip completions bash > ~/.local/share/bash-completion/completions/ocip
  ocip completions zsh > ~/.zfunc/_ocip
  ocip completions fish > ~/.config/fish/completions/ocip.fish")]
pub(crate) struct CompletionsArgs {
    /// Shell to print the script for.
    pub(crate) shell: clap_complete::Shell,
}

/// Write man pages and completion scripts, for packages.
#[derive(Args, Debug)]
#[command(after_help = "\
Writes the man page of each command and the completion scripts for bash, zsh and fish below DIR, where they \
belong below /usr/share. Files that exist are replaced.

Examples:
  ocip generate ~/.local/share
  ocip generate \"$PACKAGE/usr/share\"")]
pub(crate) struct GenerateArgs {
    /// Directory to write to; it is created if it does not exist.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

/// The arguments that select the content for most commands.
#[derive(Args, Debug)]
pub(crate) struct ReferenceArgs {
    /// `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`, or `oci:DIR[:TAG]`, `oci:DIR[@DIGEST]` or `oci-archive:FILE[:TAG]` on disk.
    #[arg(value_name = "REF", value_parser = OsStringValueParser::new().try_map(AnyReference::parse))]
    pub(crate) name: AnyReference,
    /// In an index, select the best match for this platform: os/arch[/variant].
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<Platform>,
}

/// The options of every command.
#[derive(Args, Debug)]
pub(crate) struct CommonArgs {
    /// Client to use: tokio (asynchronous) or ureq (blocking); the results are identical.
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Connection")]
    pub(crate) adapter: Adapter,
    /// Use plain HTTP for every registry; by default it is used for loopback hosts, and those that are insecure in registries.conf.
    #[arg(long, global = true, help_heading = "Connection")]
    pub(crate) plain_http: bool,
    #[command(flatten)]
    pub(crate) registries: RegistriesConfArgs,
    /// Also trust the certificate authorities in this PEM file, and use TLS even for loopback hosts.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Present this client certificate (PEM) to the registry, with the key of --key, and use TLS even for loopback hosts.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of --cert (PEM, not encrypted).
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reach: ReachArgs,
    /// Keep at most N requests in flight.
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 8,
        allow_negative_numbers = true,
        value_parser = integer_in(1..=256_u16),
        help_heading = "Connection"
    )]
    pub(crate) in_flight: u16,
    /// Retry a transient failure at most N times in a row.
    #[arg(
        long,
        global = true,
        value_name = "N",
        default_value_t = 4,
        allow_negative_numbers = true,
        value_parser = integer_in(0..=100_u32),
        help_heading = "Connection"
    )]
    pub(crate) retries: u32,
    /// Fail after this many seconds in total; decimals are allowed.
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
    pub(crate) login: LoginArgs,
    /// Print retries, request counts and times to stderr.
    #[arg(short, long, global = true, conflicts_with = "quiet", overrides_with = "verbose")]
    pub(crate) verbose: bool,
    /// Print only errors to stderr: no warnings, summaries or progress.
    #[arg(short, long, global = true, overrides_with = "quiet")]
    pub(crate) quiet: bool,
    /// Records the command.
    #[arg(skip)]
    pub(crate) recording: Option<Recording>,
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

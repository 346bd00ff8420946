//! The arguments of the commands that change stored logins.

use std::ffi::OsString;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use oci_proto::Registry;

use crate::args::mistake::Mistake;

/// Store a login for a registry, after checking it.
#[derive(Args, Debug)]
#[command(after_help = "\
Asks for the user name and the password on the terminal, unless --username and --password-stdin are \
given. The login is stored only after the registry has accepted it, and where `docker login` or \
`podman login` would store it: in the file that --auth-file, $REGISTRY_AUTH_FILE or $DOCKER_CONFIG \
names; without these, in the first of their files that exists, or else in Docker's config.json; or in \
the credential helper that the file names for the registry. Prints nothing to stdout.

Examples:
  ocip login ghcr.io
  ocip login --username robot --password-stdin registry.example:5000 < token")]
pub(crate) struct LoginCommandArgs {
    /// The name of the registry, with its port: `HOST[:PORT]`; Docker Hub is `docker.io`.
    #[arg(value_name = "REGISTRY", value_parser = OsStringValueParser::new().try_map(registry))]
    pub(crate) registry: Registry,
}

/// Remove the login for a registry.
#[derive(Args, Debug)]
#[command(after_help = "\
Removes it from all files of Docker and Podman, and from the credential helpers that they name; with \
--auth-file, only from that file. A login for a part of a registry, such as quay.io/team, stays. \
Prints nothing to stdout.

Examples:
  ocip logout ghcr.io")]
pub(crate) struct LogoutArgs {
    /// The name of the registry, with its port: `HOST[:PORT]`; Docker Hub is `docker.io`.
    #[arg(value_name = "REGISTRY", value_parser = OsStringValueParser::new().try_map(registry))]
    pub(crate) registry: Registry,
}

/// Parses the name of a registry, which may be given as a URL or with a repository by mistake.
fn registry(text: OsString) -> Result<Registry, Mistake> {
    let utf8 = text.to_string_lossy().into_owned();
    let invalid = match utf8.parse() {
        Ok(registry) => return Ok(registry),
        Err(invalid) => Mistake::new(format!("{invalid}")),
    };
    let without_scheme = utf8.split_once("://").map_or(&*utf8, |(_, rest)| rest);
    let host = without_scheme.split('/').next().unwrap_or_default();
    Err(match host.parse::<Registry>() {
        Ok(registry) if host != utf8 => {
            let error = format!("`{utf8}` is more than the name of a registry; a login is for all of it");
            Mistake::new(error).instead(text, registry.as_str())
        }
        _ => invalid,
    })
}

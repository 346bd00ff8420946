//! The rules for registries: the options for their files, and the short names of repositories in them.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::Args;
use oci_proto::{InvalidReference, Reference, Registries};
use oci_proto_common::Settings;

/// The options for the files with rules for registries.
#[derive(Args, Debug)]
pub(crate) struct RegistriesConfArgs {
    /// Read mirrors, other locations and short names from this file, instead of Podman's registries.conf.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        conflicts_with = "no_registries_conf",
        help_heading = "Connection"
    )]
    registries_conf: Option<PathBuf>,
    /// Read no registries.conf.
    #[arg(long, global = true, help_heading = "Connection")]
    no_registries_conf: bool,
}

impl RegistriesConfArgs {
    /// Sets the files that the options name.
    pub(crate) fn apply(&self, settings: Settings) -> Settings {
        let named = self.registries_conf.clone().map(|file| vec![file]);
        with_files(settings, named.or(self.no_registries_conf.then(Vec::new)))
    }
}

/// The rules that the options name, which are read before the other arguments are parsed. If a file is not usable there
/// are none: the client that is created later reports that.
static REGISTRIES: LazyLock<Registries> = LazyLock::new(|| {
    let files = files(env::args_os().skip(1));
    with_files(Settings::default(), files).registries().unwrap_or_default()
});

/// Parses a reference, which may begin with a short name.
pub(super) fn reference(text: &str) -> Result<Reference, InvalidReference> {
    REGISTRIES.reference(text)
}

/// Returns the files with rules for registries that the options name, or `None` for those of the environment.
fn files(mut arguments: impl Iterator<Item = OsString>) -> Option<Vec<PathBuf>> {
    const FILE: &str = "--registries-conf";
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some(FILE) => return arguments.next().map(|file| vec![file.into()]),
            Some("--no-registries-conf") => return Some(Vec::new()),
            _ => {}
        }
        if let Some(file) = argument.to_str().and_then(|text| text.strip_prefix(FILE)?.strip_prefix('=')) {
            return Some(vec![file.into()]);
        }
    }
    None
}

/// Sets the files with rules for registries, unless they are those of the environment.
fn with_files(settings: Settings, files: Option<Vec<PathBuf>>) -> Settings {
    match files {
        Some(files) => settings.registries_conf(files),
        None => settings,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_name_the_files() {
        for (arguments, found) in [
            (&["resolve", "fedora"][..], None),
            (&["resolve", "--no-registries-conf", "fedora"], Some(vec![])),
            (&["resolve", "--registries-conf", "a.conf", "fedora"], Some(vec![PathBuf::from("a.conf")])),
            (&["--registries-conf=a=b.conf", "resolve"], Some(vec![PathBuf::from("a=b.conf")])),
            (&["resolve", "--registries-conf"], None),
        ] {
            assert_eq!(files(arguments.iter().map(OsString::from)), found, "{arguments:?}");
        }
    }
}

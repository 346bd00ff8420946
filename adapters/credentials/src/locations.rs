//! The locations of the files in which Docker and Podman store logins.

use std::ffi::OsString;
use std::path::PathBuf;

/// The files that the environment locates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locations {
    /// All of them, in order of precedence.
    pub(crate) files: Vec<PathBuf>,
    /// Whether a variable names the first one, in which new logins are stored even if it does not exist.
    pub(crate) first_is_named: bool,
    /// Docker's file in the home directory.
    pub(crate) docker: Option<PathBuf>,
}

pub(crate) fn find(vars: &impl Fn(&str) -> Option<OsString>) -> Locations {
    let var = |name| vars(name).map(PathBuf::from);
    if let Some(file) = var("REGISTRY_AUTH_FILE") {
        return Locations { files: vec![file], first_is_named: true, docker: None };
    }
    let home = var("HOME");
    let below_home = |path| home.as_ref().map(|home| home.join(path));
    let docker = var("DOCKER_CONFIG");
    let docker_default = if docker.is_none() { below_home(".docker") } else { None };
    let config = |directory: PathBuf| directory.join("config.json");
    let auth = |directory: PathBuf| directory.join("containers/auth.json");
    let runtime = var("XDG_RUNTIME_DIR").map(auth).or_else(runtime_default);
    let (named, docker) = (docker.map(config), docker_default.map(config));
    let first_is_named = named.is_some();
    let user = var("XDG_CONFIG_HOME").or_else(|| below_home(".config")).map(auth);
    let files = [named, runtime, user, docker.clone()].into_iter().flatten().collect();
    Locations { files, first_is_named, docker }
}

/// Podman's file for a user without a runtime directory, such as root in a container.
#[cfg(target_os = "linux")]
fn runtime_default() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    // The standard library has no other way to get the user id of this process.
    let user = std::fs::metadata("/proc/self").ok()?.uid();
    Some(format!("/run/containers/{user}/auth.json").into())
}

#[cfg(not(target_os = "linux"))]
fn runtime_default() -> Option<PathBuf> {
    None
}

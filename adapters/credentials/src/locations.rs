//! The locations of the files in which Docker and Podman store logins.

use std::ffi::OsString;
use std::path::PathBuf;

/// The files, in order of precedence.
pub(crate) fn find(vars: &impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let var = |name| vars(name).map(PathBuf::from);
    if let Some(file) = var("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = var("HOME");
    let below_home = |path| home.as_ref().map(|home| home.join(path));
    let docker = var("DOCKER_CONFIG");
    let docker_default = if docker.is_none() { below_home(".docker") } else { None };
    let config = |directory: PathBuf| directory.join("config.json");
    let auth = |directory: PathBuf| directory.join("containers/auth.json");
    let runtime = var("XDG_RUNTIME_DIR").map(auth).or_else(runtime_default);
    [
        docker.map(config),
        runtime,
        var("XDG_CONFIG_HOME").or_else(|| below_home(".config")).map(auth),
        docker_default.map(config),
    ]
    .into_iter()
    .flatten()
    .collect()
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

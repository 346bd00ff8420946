//! The precedence of files.

use std::ffi::OsString;
use std::fs;

use oci_proto_credentials::Store;

use crate::support::{TestDirectory, config, login, message, query};

const VARIABLES: [(&str, &str); 5] = [
    ("REGISTRY_AUTH_FILE", "named/auth.json"),
    ("DOCKER_CONFIG", "docker"),
    ("XDG_RUNTIME_DIR", "runtime"),
    ("XDG_CONFIG_HOME", "config"),
    ("HOME", "home"),
];

/// A store for an environment with these variables.
fn store(place: &TestDirectory, set: &[&str]) -> Store {
    Store::from_vars(|name| {
        let (_, value) =
            VARIABLES.into_iter().find(|(variable, _)| *variable == name && set.contains(variable))?;
        Some(place.path().join(value).into())
    })
}

/// All files, each with a login whose user name is the path of the file.
fn all_files() -> TestDirectory {
    let place = TestDirectory::new();
    for file in [
        "named/auth.json",
        "docker/config.json",
        "runtime/containers/auth.json",
        "config/containers/auth.json",
        "home/.config/containers/auth.json",
        "home/.docker/config.json",
    ] {
        let path = place.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, config(&[("registry.example", &format!("{file}:password"))])).unwrap();
    }
    place
}

/// Finds a login and removes its file until none is left; returns the files in order.
fn order(set: &[&str]) -> Vec<String> {
    let place = all_files();
    let store = store(&place, set);
    let mut found = Vec::new();
    while let Some(oci_proto::Credentials::Basic { username, .. }) =
        store.look_up(&query("registry.example/app")).unwrap()
    {
        fs::remove_file(place.path().join(&username)).unwrap();
        found.push(username);
    }
    found
}

#[test]
fn files_named_by_variables_precede_defaults() {
    assert_eq!(
        order(&["XDG_RUNTIME_DIR", "HOME"]),
        ["runtime/containers/auth.json", "home/.config/containers/auth.json", "home/.docker/config.json"]
    );
    assert_eq!(
        order(&["DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "HOME"]),
        ["docker/config.json", "runtime/containers/auth.json", "config/containers/auth.json"]
    );
    assert_eq!(order(&VARIABLES.map(|(variable, _)| variable)), ["named/auth.json"]);
    assert_eq!(order(&["HOME"]), ["home/.config/containers/auth.json", "home/.docker/config.json"]);
    assert_eq!(order(&["DOCKER_CONFIG"]), ["docker/config.json"]);
    assert_eq!(order(&[]), [""; 0]);
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let place = all_files();
    let store = Store::from_vars(|name| match name {
        "HOME" => Some(place.path().join("home").into()),
        _ => Some(OsString::new()),
    });
    let found = store.look_up(&query("registry.example/app"));
    assert_eq!(found, Ok(login("home/.config/containers/auth.json", "password")));
}

#[test]
fn an_invalid_file_is_not_skipped() {
    let place = all_files();
    let broken = place.path().join("runtime/containers/auth.json");
    fs::write(&broken, "{").unwrap();
    let found = store(&place, &["XDG_RUNTIME_DIR", "HOME"]).look_up(&query("registry.example/app"));
    assert!(message(found).starts_with(broken.to_str().unwrap()));
}

#[test]
fn a_file_without_the_login_is_skipped() {
    let place = all_files();
    let other = config(&[("other.example", "other:1"), ("registry.example", ":")]);
    fs::write(place.path().join("runtime/containers/auth.json"), other).unwrap();
    let found = store(&place, &["XDG_RUNTIME_DIR", "HOME"]).look_up(&query("registry.example/app"));
    assert_eq!(found, Ok(login("home/.config/containers/auth.json", "password")));
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_runtime_directory_the_default_of_podman_is_used() {
    let id = std::process::Command::new("id").arg("-u").output().unwrap().stdout;
    let file = format!("/run/containers/{}/auth.json", String::from_utf8(id).unwrap().trim());
    let shown = |set: &[&str]| format!("{:?}", store(&TestDirectory::new(), set)).contains(&file);
    assert!(shown(&["HOME"]), "{:?}", store(&TestDirectory::new(), &["HOME"]));
    assert!(!shown(&["HOME", "XDG_RUNTIME_DIR"]));
}

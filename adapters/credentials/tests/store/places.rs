//! Which file counts before which.

use std::ffi::OsString;
use std::fs;

use oci_proto_credentials::Store;

use crate::support::{Place, config, login, message, query};

const VARIABLES: [(&str, &str); 5] = [
    ("REGISTRY_AUTH_FILE", "named/auth.json"),
    ("DOCKER_CONFIG", "docker"),
    ("XDG_RUNTIME_DIR", "runtime"),
    ("XDG_CONFIG_HOME", "config"),
    ("HOME", "home"),
];

/// A store of the environment in which these variables are set.
fn store(place: &Place, set: &[&str]) -> Store {
    Store::from_vars(|name| {
        let (_, value) =
            VARIABLES.into_iter().find(|(variable, _)| *variable == name && set.contains(variable))?;
        Some(place.path().join(value).into())
    })
}

/// A login in each file, whose user's name is the file's.
fn everywhere() -> Place {
    let place = Place::new();
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

/// Finds a login, removes its file, and so on: the files in their order.
fn order(set: &[&str]) -> Vec<String> {
    let place = everywhere();
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
fn what_a_variable_names_comes_before_what_is_found_by_default() {
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
fn an_empty_variable_is_not_set() {
    let place = everywhere();
    let store = Store::from_vars(|name| match name {
        "HOME" => Some(place.path().join("home").into()),
        _ => Some(OsString::new()),
    });
    let found = store.look_up(&query("registry.example/app"));
    assert_eq!(found, Ok(login("home/.config/containers/auth.json", "password")));
}

#[test]
fn a_file_that_counts_first_is_not_passed_over_because_it_is_broken() {
    let place = everywhere();
    let broken = place.path().join("runtime/containers/auth.json");
    fs::write(&broken, "{").unwrap();
    let found = store(&place, &["XDG_RUNTIME_DIR", "HOME"]).look_up(&query("registry.example/app"));
    assert!(message(found).starts_with(broken.to_str().unwrap()));
}

#[test]
fn a_file_without_the_login_leaves_it_to_the_next() {
    let place = everywhere();
    let other = config(&[("other.example", "other:1"), ("registry.example", ":")]);
    fs::write(place.path().join("runtime/containers/auth.json"), other).unwrap();
    let found = store(&place, &["XDG_RUNTIME_DIR", "HOME"]).look_up(&query("registry.example/app"));
    assert_eq!(found, Ok(login("home/.config/containers/auth.json", "password")));
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_runtime_directory_podman_s_own_is_meant() {
    let id = std::process::Command::new("id").arg("-u").output().unwrap().stdout;
    let file = format!("/run/containers/{}/auth.json", String::from_utf8(id).unwrap().trim());
    let shown = |set: &[&str]| format!("{:?}", store(&Place::new(), set)).contains(&file);
    assert!(shown(&["HOME"]), "{:?}", store(&Place::new(), &["HOME"]));
    assert!(!shown(&["HOME", "XDG_RUNTIME_DIR"]));
}

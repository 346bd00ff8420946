//! Storing and removing logins.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use oci_proto::Credentials;

use crate::support::{TestDirectory, base64, config, login, query};

/// A script that records its input and succeeds, and has the login that was stored last.
const KEEPING: &str = "cd \"$(dirname \"$0\")\"
    case $1 in
    store) cat > kept;;
    erase) echo \"erase $(cat)\" >> asked; rm kept;;
    get) if [ -e kept ]; then cat kept; else echo 'credentials not found in native keychain'; exit 1; fi;;
    esac";

fn mode(place: &TestDirectory) -> u32 {
    fs::metadata(place.config()).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_login_is_stored_in_a_new_file_that_only_its_owner_reads() {
    let home = TestDirectory::new();
    let place = home.path().join("not/yet");
    let store = oci_proto_credentials::Store::none().file(place.join("config.json"));
    let registry = "registry.example:5000".parse().unwrap();
    let saved = store.save(&registry, &login("user", "pass:word").unwrap()).unwrap();
    assert_eq!(saved, place.join("config.json").display().to_string());
    assert_eq!(store.look_up(&query("registry.example:5000/app")), Ok(login("user", "pass:word")));
    let written: serde_json::Value =
        serde_json::from_slice(&fs::read(place.join("config.json")).unwrap()).unwrap();
    let auth = base64("user:pass:word");
    assert_eq!(written, serde_json::json!({ "auths": { "registry.example:5000": { "auth": auth } } }));
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place.join("config.json")), mode(&place)), (0o600, 0o700));
}

#[test]
fn everything_else_in_a_file_stays_and_all_names_of_the_registry_are_replaced() {
    let place = TestDirectory::with_config(format!(
        "{{\"auths\": {{
            \"docker.io\": {{\"auth\": \"{old}\"}}, \"https://index.docker.io/v1/\": {{\"auth\": \"{old}\"}},
            \"docker.io/team\": {{\"auth\": \"{old}\"}}, \"other.example\": {{\"auth\": \"{old}\"}}
         }}, \"HttpHeaders\": {{\"x\": [1.50, null]}}, \"psFormat\": \"table\"}}",
        old = base64("old:1")
    ));
    fs::set_permissions(place.config(), fs::Permissions::from_mode(0o644)).unwrap();
    let registry = "docker.io".parse().unwrap();
    place.store().save(&registry, &Credentials::Identity("token".into())).unwrap();
    let written: serde_json::Value = serde_json::from_slice(&fs::read(place.config()).unwrap()).unwrap();
    let old = base64("old:1");
    let expected = serde_json::json!({
        "auths": {
            "https://index.docker.io/v1/": { "identitytoken": "token" },
            "docker.io/team": { "auth": old },
            "other.example": { "auth": old },
        },
        "HttpHeaders": { "x": [1.5, null] },
        "psFormat": "table",
    });
    assert_eq!((written, mode(&place)), (expected, 0o600));
    assert_eq!(place.look_up("docker.io/library/alpine"), Ok(Some(Credentials::Identity("token".into()))));

    let removed = place.store().erase(&registry).unwrap();
    assert_eq!(removed, [place.config().display().to_string()]);
    assert_eq!(place.look_up("docker.io/library/alpine"), Ok(None));
    assert_eq!(place.look_up("docker.io/team/app"), Ok(login("old", "1")));
    assert_eq!(place.store().erase(&registry).unwrap(), [""; 0]);
}

#[test]
fn a_helper_stores_and_removes_the_login() {
    let place = TestDirectory::with_config(format!(
        "{{\"credHelpers\": {{\"a.example\": \"own\"}}, \"auths\": {{\"a.example\": {{\"auth\": \"{}\"}}}}}}",
        base64("old:1")
    ))
    .helper("own", KEEPING);
    let registry = "a.example".parse().unwrap();
    let saved = place.store().save(&registry, &login("user", "a \"quoted\" \\ one").unwrap()).unwrap();
    assert_eq!(
        saved,
        format!("the credential helper `docker-credential-own` in {}", place.config().display())
    );
    assert_eq!(place.look_up("a.example/app"), Ok(login("user", "a \"quoted\" \\ one")));
    let file = fs::read_to_string(place.config()).unwrap();
    assert!(!file.contains("quoted") && !file.contains(&base64("old:1")), "{file}");

    assert_eq!(place.store().erase(&registry).unwrap(), [saved]);
    assert_eq!(place.note("asked"), "erase a.example");
    assert_eq!(place.look_up("a.example/app"), Ok(None));
}

#[test]
fn a_helper_that_fails_changes_nothing() {
    let before = config(&[("b.example", "old:1")]);
    let before = before.replacen('{', "{\"credsStore\": \"store\",", 1);
    let place =
        TestDirectory::with_config(&before).helper("store", "cat; echo secret; echo secret >&2; exit 3");
    let fault = place.store().save(&"b.example".parse().unwrap(), &login("user", "secret").unwrap());
    let message = fault.unwrap_err().to_string();
    assert!(
        message.contains("`docker-credential-store` failed to store the login (exit status: 3)"),
        "{message}"
    );
    assert!(
        message.contains(&place.config().display().to_string()) && !message.contains("secret"),
        "{message}"
    );
    assert_eq!(fs::read_to_string(place.config()).unwrap(), before);
    // Longer than a pipe takes at once: the helper need not read it.
    let long = login("user", &"x".repeat(40 << 10)).unwrap();
    let message = place.store().save(&"b.example".parse().unwrap(), &long).unwrap_err().to_string();
    assert!(message.contains("longer than 32 KiB"), "{message}");
}

#[test]
fn a_broken_file_is_not_replaced() {
    for broken in ["{", "[]", "{\"auths\": 1}", "{\"credHelpers\": []}"] {
        let place = TestDirectory::with_config(broken);
        let registry = "registry.example".parse().unwrap();
        let message = place.store().save(&registry, &login("user", "1").unwrap()).unwrap_err().to_string();
        assert!(message.contains(&place.config().display().to_string()), "{message}");
        place.store().erase(&registry).unwrap_err();
        assert_eq!(fs::read_to_string(place.config()).unwrap(), broken);
    }
}

#[test]
fn a_link_stays_and_leads_to_the_new_content() {
    let place = TestDirectory::new();
    let real = TestDirectory::with_config("{}");
    symlink(real.config(), place.config()).unwrap();
    place.store().save(&"registry.example".parse().unwrap(), &login("user", "1").unwrap()).unwrap();
    assert!(fs::symlink_metadata(place.config()).unwrap().is_symlink());
    assert_eq!(real.look_up("registry.example/app"), Ok(login("user", "1")));
}

#[test]
fn what_is_no_file_is_not_replaced() {
    let place = TestDirectory::new();
    let (device, dangling, missing) =
        (place.path().join("device"), place.path().join("dangling"), place.path().join("missing"));
    symlink("/dev/null", &device).unwrap();
    symlink(&missing, &dangling).unwrap();
    for path in [&device, &dangling] {
        let store = oci_proto_credentials::Store::none().file(path);
        let fault = store.save(&"registry.example".parse().unwrap(), &login("user", "1").unwrap());
        let message = fault.unwrap_err().to_string();
        assert!(message.contains(&path.display().to_string()), "{message}");
        assert!(fs::symlink_metadata(path).unwrap().is_symlink() && !missing.exists());
    }
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
fn a_login_is_stored_where_docker_or_podman_would_store_it() {
    let home = TestDirectory::new();
    let path = |name: &str| home.path().join(name);
    let exists = |name: &str| {
        fs::create_dir_all(path(name).parent().unwrap()).unwrap();
        fs::write(path(name), "{}").unwrap();
    };
    let save = |variables: &[(&str, &str)]| {
        let store = oci_proto_credentials::Store::from_vars(|name| {
            let known = variables.iter().find(|(variable, _)| *variable == name);
            known.map(|(_, value)| path(value).into())
        });
        store.save(&"registry.example".parse().unwrap(), &login("user", "1").unwrap())
    };
    let stored = |variables: &[(&str, &str)], name: &str| {
        assert_eq!(save(variables), Ok(path(name).display().to_string()), "{variables:?}");
    };
    let (at_home, runtime) = (("HOME", "home"), ("XDG_RUNTIME_DIR", "run"));
    stored(&[at_home, runtime], "home/.docker/config.json");
    exists("home/.config/containers/auth.json");
    stored(&[at_home, runtime], "home/.config/containers/auth.json");
    exists("run/containers/auth.json");
    stored(&[at_home, runtime], "run/containers/auth.json");
    // What a variable names is meant, whether it exists or not.
    stored(&[at_home, runtime, ("DOCKER_CONFIG", "docker")], "docker/config.json");
    stored(&[at_home, runtime, ("REGISTRY_AUTH_FILE", "new/auth.json")], "new/auth.json");
    let message = save(&[("XDG_RUNTIME_DIR", "nowhere")]).unwrap_err().to_string();
    assert!(message.contains("set HOME or DOCKER_CONFIG"), "{message}");
}

#[test]
fn an_access_token_is_not_stored() {
    let place = TestDirectory::new();
    let fault = place.store().save(&"registry.example".parse().unwrap(), &Credentials::Bearer("t".into()));
    assert!(fault.unwrap_err().message().contains("can be stored"));
    assert!(!place.config().exists());
}

#[test]
fn the_variable_precedes_all_files() {
    let place = TestDirectory::with_config(config(&[("a.example", "file:1"), ("b.example", "file:2")]));
    let in_variable = |text: String| {
        let config = place.path().to_owned();
        oci_proto_credentials::Store::from_vars(move |name| match name {
            "DOCKER_AUTH_CONFIG" => Some(text.clone().into()),
            "DOCKER_CONFIG" => Some(config.clone().into()),
            _ => None,
        })
    };
    let store = in_variable(config(&[("a.example", "variable:1")]));
    assert_eq!(store.look_up(&query("a.example/app")), Ok(login("variable", "1")));
    assert_eq!(store.source(&"a.example".parse().unwrap()).as_deref(), Some("$DOCKER_AUTH_CONFIG"));
    assert_eq!(store.look_up(&query("b.example/app")), Ok(login("file", "2")));
    assert!(!format!("{store:?}").contains(&base64("variable:1")), "{store:?}");
    let message = in_variable("{\"auths\": \"secret\"}".to_owned()).look_up(&query("a.example/app"));
    let message = message.unwrap_err().to_string();
    assert!(message.contains("$DOCKER_AUTH_CONFIG: `auths`") && !message.contains("secret"), "{message}");
}

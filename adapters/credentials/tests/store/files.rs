//! Files: existing, missing, invalid, and not regular.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use oci_proto::Credentials;
use oci_proto_credentials::Store;

use crate::support::{TestDirectory, config, login, message, query};

#[test]
fn a_missing_file_is_not_an_error() {
    let place = TestDirectory::new();
    let nowhere = place.path().join("no/such/file");
    let below_a_file = place.path().join("file/below");
    fs::write(place.path().join("file"), "").unwrap();
    for path in
        [nowhere.to_str().unwrap(), below_a_file.to_str().unwrap(), "/dev/null", "/dev/null/config.json"]
    {
        let found = Store::none().file(path).look_up(&query("registry.example/app"));
        assert_eq!(found, Ok(None), "{path}");
    }
}

#[test]
fn an_empty_file_has_no_login() {
    for content in ["", " \n", "{}", "{\"auths\": {}}", "{\"auths\": null, \"credHelpers\": null}"] {
        assert_eq!(
            TestDirectory::with_config(content).look_up("registry.example/app"),
            Ok(None),
            "{content:?}"
        );
    }
}

#[test]
fn a_login_added_after_the_store_is_made_is_found() {
    let place = TestDirectory::new();
    let store = place.store();
    assert_eq!(store.look_up(&query("registry.example/app")), Ok(None));
    fs::write(place.config(), config(&[("registry.example", "user:password")])).unwrap();
    assert_eq!(store.look_up(&query("registry.example/app")), Ok(login("user", "password")));
}

#[test]
fn invalid_json_is_an_error_with_its_position() {
    for (content, expected) in [
        (&b"{\n  \"auths\": {\n    oops\n"[..], "line 3 column 5"),
        (b"{\"auths\": {\"registry.example\": {\"auth\": \"dXNlc", "line 1 column"),
        (b"{\"auths\": {\"registry.example\": {\"auth\": \"\xff\"}}}", "line 1 column"),
        (b"\xff\xfe{\0}\0", "line 1 column 1"),
        (b"{} {}", "line 1 column 4"),
        (&b"[".repeat(100_000), "line 1 column"),
    ] {
        let place = TestDirectory::with_config(content);
        let fault = place.fault("registry.example/app");
        for expected in [place.config().to_str().unwrap(), "not JSON", expected] {
            assert!(fault.contains(expected), "{expected:?} is not in {fault:?}");
        }
        assert!(fault.len() < 300, "{fault}");
    }
}

#[test]
fn json_of_the_wrong_types_is_an_error() {
    for (content, expected) in [
        ("[]", "not a JSON object"),
        ("{\"auths\": []}", "`auths` is not an object"),
        ("{\"credHelpers\": \"x\"}", "`credHelpers` is not an object"),
        ("{\"credHelpers\": {\"registry.example\": {}}}", "`registry.example` is not a string"),
        ("{\"credsStore\": {}}", "`credsStore` is not a string"),
    ] {
        let place = TestDirectory::with_config(content);
        let fault = place.fault("registry.example/app");
        assert!(fault.starts_with(place.config().to_str().unwrap()) && fault.contains(expected), "{fault}");
    }
}

#[test]
fn a_path_that_is_not_a_regular_file_is_an_error() {
    let place = TestDirectory::new();
    let fault =
        |name: &str| message(Store::none().file(place.path().join(name)).look_up(&query("a.example/b")));

    fs::create_dir(place.path().join("directory")).unwrap();
    assert!(fault("directory").ends_with("directory: not a regular file"), "{}", fault("directory"));

    // Opening it would block until there is a writer.
    assert!(Command::new("mkfifo").arg(place.path().join("pipe")).status().unwrap().success());
    assert!(fault("pipe").ends_with("pipe: not a regular file"), "{}", fault("pipe"));

    symlink(place.path().join("loop"), place.path().join("loop")).unwrap();
    assert!(fault("loop").contains("loop: Too many levels"), "{}", fault("loop"));
}

#[test]
fn a_file_of_100_mb_is_refused_without_reading_it() {
    let place = TestDirectory::new();
    File::create(place.config()).unwrap().set_len(100 << 20).unwrap();
    let since = Instant::now();
    let fault = place.fault("registry.example/app");
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    assert!(fault.starts_with(place.config().to_str().unwrap()) && fault.contains("4 MiB"), "{fault}");
}

#[test]
fn a_file_is_read_up_to_the_size_limit() {
    let place = TestDirectory::new();
    let logins = config(&[("registry.example", "user:password")]);
    let filled = logins.clone() + &" ".repeat((4 << 20) - logins.len());
    fs::write(place.config(), &filled).unwrap();
    assert_eq!(place.look_up("registry.example/app"), Ok(login("user", "password")));
    fs::write(place.config(), filled + " ").unwrap();
    assert!(place.fault("registry.example/app").contains("4 MiB"));
}

#[test]
fn an_added_login_precedes_files_for_its_registry_only() {
    let place = TestDirectory::with_config(config(&[("a.example", "file:1"), ("b.example", "file:2")]));
    let given = Credentials::login("given", "3").unwrap();
    let store = place.store().login("a.example".parse().unwrap(), given);
    assert_eq!(store.look_up(&query("a.example/app")), Ok(login("given", "3")));
    assert_eq!(store.look_up(&query("b.example/app")), Ok(login("file", "2")));
    assert_eq!(store.look_up(&query("a.example:443/app")), Ok(None));
}

#[test]
fn added_files_precede_those_of_the_environment() {
    let place = TestDirectory::with_config(config(&[("a.example", "found:1"), ("b.example", "found:2")]));
    let given = place.path().join("given.json");
    let second = place.path().join("second.json");
    fs::write(&given, config(&[("a.example", "given:3")])).unwrap();
    fs::write(&second, config(&[("a.example", "second:4"), ("c.example", "second:5")])).unwrap();
    let store = place.store().file(given).file(second);
    assert_eq!(store.look_up(&query("a.example/app")), Ok(login("given", "3")));
    assert_eq!(store.look_up(&query("b.example/app")), Ok(login("found", "2")));
    assert_eq!(store.look_up(&query("c.example/app")), Ok(login("second", "5")));
}

#[test]
fn an_empty_store_has_no_login() {
    assert_eq!(Store::none().look_up(&query("registry.example/app")), Ok(None));
}

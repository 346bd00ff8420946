//! Credentials are looked up when a registry asks for them, and not before.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use oci_proto::{Cause, Credentials, FaultKind, LimitExceeded, Reference};
use oci_proto_common::Settings;
use oci_proto_tests::adapter::Adapter;
use oci_proto_tests::clients::MAKERS;
use oci_proto_tokio::credentials::Store;

const MANIFEST: &str = "{\"schemaVersion\": 2, \"mediaType\": \"application/vnd.oci.image.index.v1+json\", \
                        \"manifests\": []}";
/// `user:password` as in RFC 7617.
const BASIC: &str = "Basic dXNlcjpwYXNzd29yZA==";

/// A registry with one manifest, under any name; it may require credentials.
struct Registry {
    address: SocketAddr,
    /// The Authorization header of each request.
    seen: Arc<Mutex<Vec<Option<String>>>>,
}

impl Registry {
    fn start(wants_login: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = told.clone();
                thread::spawn(move || answer(&stream, wants_login, &seen));
            }
        });
        Self { address, seen }
    }

    fn reference(&self) -> Reference {
        format!("{}/team/app:1", self.address).parse().unwrap()
    }

    fn seen(&self) -> Vec<Option<String>> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer(stream: &TcpStream, wants_login: bool, seen: &Mutex<Vec<Option<String>>>) {
    let head = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let login = head.filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization").then(|| value.to_owned())
    });
    let login = login.last();
    seen.lock().unwrap().push(login.clone());
    let (status, header, body) = match (wants_login, login.as_deref()) {
        (false, _) | (true, Some(BASIC)) => {
            ("200 OK", "Content-Type: application/vnd.oci.image.index.v1+json", MANIFEST)
        }
        _ => ("401 Unauthorized", "WWW-Authenticate: Basic realm=\"test\"", ""),
    };
    let length = body.len();
    // A client may disconnect early.
    let _ = write!(
        &mut &*stream,
        "HTTP/1.1 {status}\r\n{header}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
}

/// A client of each adapter with these credentials and this timeout for operations.
fn clients(store: &Store, timeout: Option<Duration>) -> [Arc<dyn Adapter>; 2] {
    let mut settings = Settings::default().credentials(store.clone());
    if let Some(timeout) = timeout {
        settings = settings.timeout(timeout);
    }
    MAKERS.map(|(_, make)| make(&settings).into())
}

/// A credentials file that names a helper for a registry, and the helper.
fn helper(place: &Path, registry: SocketAddr, script: &str) -> Store {
    let config = format!("{{\"credHelpers\": {{\"{registry}\": \"test\"}}}}");
    fs::write(place.join("config.json"), config).unwrap();
    // Written by another process: a file that this process has open for writing cannot be executed.
    let mut install = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod +x \"$0\""])
        .arg(place.join("docker-credential-test"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    write!(install.stdin.take().unwrap(), "#!/bin/sh\n{script}\n").unwrap();
    assert!(install.wait().unwrap().success());
    Store::from_vars(|name| match name {
        "DOCKER_CONFIG" | "XDG_RUNTIME_DIR" => Some(place.into()),
        "PATH" => Some(format!("{}:/usr/bin:/bin", place.display()).into()),
        _ => None,
    })
}

#[test]
fn credentials_are_sent_to_a_registry_that_asks() {
    let place = tempfile::tempdir().unwrap();
    for index in 0..2 {
        let registry = Registry::start(true);
        let file = place.path().join("auth.json");
        let auth = BASIC.trim_start_matches("Basic ");
        fs::write(
            &file,
            format!("{{\"auths\": {{\"{}/team\": {{\"auth\": \"{auth}\"}}}}}}", registry.address),
        )
        .unwrap();
        let client = &clients(&Store::none().file(&file), None)[index];
        client.manifest(&registry.reference(), None).unwrap_or_else(|e| panic!("{}: {e}", client.name()));
        client.manifest(&registry.reference(), None).unwrap();
        let basic = Some(BASIC.to_owned());
        assert_eq!(registry.seen(), [None, basic.clone(), basic], "{}", client.name());
    }
}

#[test]
fn nothing_is_looked_up_if_the_registry_does_not_ask() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("auth.json");
    fs::write(&file, "this is no JSON").unwrap();
    let store = Store::none().file(&file);
    let open = Registry::start(false);
    let closed = Registry::start(true);
    for client in clients(&store, None) {
        client.manifest(&open.reference(), None).unwrap_or_else(|e| panic!("{}: {e}", client.name()));
        let error = client.manifest(&closed.reference(), None).unwrap_err();
        let kind = error.fault().map(oci_proto::Fault::kind);
        assert_eq!(kind, Some(FaultKind::Credentials), "{}: {error}", client.name());
        for said in [file.to_str().unwrap(), "not JSON", "line 1 column"] {
            assert!(error.to_string().contains(said), "{}: {error}", client.name());
        }
    }
}

#[test]
fn a_registry_refuses_without_credentials() {
    let registry = Registry::start(true);
    for client in clients(&Store::none(), None) {
        let error = client.manifest(&registry.reference(), None).unwrap_err();
        assert!(error.is_unauthorized(), "{}: {error}", client.name());
    }
}

#[test]
fn concurrent_calls_share_a_lookup() {
    for index in 0..2 {
        let place = tempfile::tempdir().unwrap();
        let registry = Registry::start(true);
        let store = helper(
            place.path(),
            registry.address,
            "echo asked >> \"$0.asked\"; sleep 0.3
             echo '{\"Username\": \"user\", \"Secret\": \"password\"}'",
        );
        let client = &clients(&store, None)[index];
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| client.manifest(&registry.reference(), None).unwrap());
            }
        });
        let asked = fs::read_to_string(place.path().join("docker-credential-test.asked")).unwrap();
        assert_eq!(asked.lines().count(), 1, "{}", client.name());
    }
}

/// A lookup that takes a minute.
const SLOW: &str = "exec sleep 60";

#[test]
fn a_slow_lookup_does_not_block_other_operations() {
    for index in 0..2 {
        let place = tempfile::tempdir().unwrap();
        let (open, closed) = (Registry::start(false), Registry::start(true));
        let store = helper(place.path(), closed.address, SLOW).helper_timeout(Duration::from_secs(3));
        let client = &clients(&store, None)[index];
        let since = Instant::now();
        thread::scope(|scope| {
            let slow = scope.spawn(|| client.manifest(&closed.reference(), None));
            while closed.seen().is_empty() {
                thread::sleep(Duration::from_millis(5));
            }
            for _ in 0..20 {
                client.manifest(&open.reference(), None).unwrap();
            }
            let name = client.name();
            assert!(!slow.is_finished(), "{name}: the others waited {:?}", since.elapsed());
            let error = slow.join().unwrap().unwrap_err().to_string();
            for said in ["docker-credential-test", "3s"] {
                assert!(error.contains(said), "{name}: {error}");
            }
        });
    }
}

#[test]
fn a_slow_lookup_ends_at_the_deadline() {
    for index in 0..2 {
        let place = tempfile::tempdir().unwrap();
        let registry = Registry::start(true);
        let store = helper(place.path(), registry.address, SLOW);
        let store = store.helper_timeout(Duration::from_secs(10));
        let since = Instant::now();
        let client = clients(&store, Some(Duration::from_millis(700)))[index].clone();
        let error = client.manifest(&registry.reference(), None).unwrap_err();
        let in_time = matches!(error.cause(), Cause::Limit(LimitExceeded::Deadline));
        assert!(in_time, "{}: {error}", client.name());
        let name = client.name();
        // It ends with the runtime, if there is one.
        drop(client);
        assert!(since.elapsed() < Duration::from_secs(5), "{name}: {:?}", since.elapsed());
    }
}

#[test]
fn configured_credentials_are_used_for_their_registry_only() {
    let (own, other) = (Registry::start(true), Registry::start(true));
    let login = Credentials::login("user", "password").unwrap();
    let store = Store::none().login(own.address.to_string().parse().unwrap(), login);
    for client in clients(&store, None) {
        client.manifest(&own.reference(), None).unwrap();
        assert!(client.manifest(&other.reference(), None).unwrap_err().is_unauthorized());
    }
    assert!(!other.seen().is_empty() && other.seen().iter().all(Option::is_none), "{:?}", other.seen());
}

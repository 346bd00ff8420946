//! docker-registry with authentication: by htpasswd, and by tokens.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use oci_proto::{Credentials, WalkOptions};
use oci_proto_common::{TransferOptions, TreeSource};
use oci_proto_tests::adapter::Adapter;
use oci_proto_tests::clients::MAKERS;
use oci_proto_tests::interop::{DockerRegistry, Program, Requester, Rules, Sample, Settings, TokenServer};
use oci_proto_tokio::credentials::Store;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Ocip, REPOSITORY, downloads, filled, root, walks};

const USER: &str = "somebody";
const PASSWORD: &str = "correct: horse";
const IDENTITY: &str = "an identity token";

/// A registry with content, guarded by htpasswd.
struct Guarded {
    sample: Sample,
    _open: DockerRegistry,
    registry: DockerRegistry,
    _folder: TempDir,
}

impl Guarded {
    /// Returns `None` if a program is not installed.
    fn start() -> Option<Self> {
        let htpasswd = Program::find("htpasswd", "apache2-utils")?;
        let sample = Sample::nested();
        let open = filled(&sample)?;
        let folder = TempDir::with_prefix("htpasswd-").unwrap();
        let made = htpasswd.command(folder.path()).args(["-Bbn", USER, PASSWORD]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let path = folder.path().join("htpasswd");
        fs::write(&path, made.stdout).unwrap();
        let settings =
            Settings::new().with(&["auth", "htpasswd"], json!({ "realm": "a test", "path": path }));
        let registry = open.beside(&settings);
        Some(Self { sample, _open: open, registry, _folder: folder })
    }
}

/// A registry with content that accepts the tokens of a token server.
struct Tokened {
    sample: Sample,
    _open: DockerRegistry,
    registry: DockerRegistry,
    tokens: TokenServer,
}

impl Tokened {
    /// Returns `None` if docker-registry is not installed.
    fn start(rules: Rules) -> Option<Self> {
        let sample = Sample::nested();
        let open = filled(&sample)?;
        let tokens = TokenServer::start(rules);
        let registry = open.beside(&tokens.rule(Settings::new()));
        Some(Self { sample, _open: open, registry, tokens })
    }

    /// The clients of token requests since the last call, all for pull access to this repository.
    fn asked(&self) -> Vec<Requester> {
        let requests = self.tokens.take();
        for request in &requests {
            assert_eq!(request.scopes, [format!("repository:{REPOSITORY}:pull")]);
        }
        requests.iter().map(|request| request.requester).collect()
    }
}

/// A client of each adapter with these credentials for a registry.
fn clients(registry: &DockerRegistry, login: Option<&Credentials>) -> [Box<dyn Adapter>; 2] {
    MAKERS.map(|(_, make)| {
        let name = registry.address().to_string().parse().unwrap();
        let store = match login {
            Some(login) => Store::none().login(name, login.clone()),
            None => Store::none(),
        };
        make(&oci_proto_common::Settings::default().credentials(store))
    })
}

fn login(password: &str) -> Credentials {
    Credentials::login(USER, password).unwrap()
}

#[test]
fn htpasswd_accepts_the_right_login() {
    let Some(guarded) = Guarded::start() else { return };
    let root = root(guarded.registry.address());
    for client in clients(&guarded.registry, Some(&login(PASSWORD))) {
        walks(&*client, &root, &guarded.sample);
        assert_eq!(client.requests(), 1 + 12, "{}: only the first request is refused", client.name());
        downloads(&*client, &root, &guarded.sample);
    }
    Ocip::new().prints(&root, &guarded.sample, &["--username", USER, "--password-stdin"], PASSWORD);

    // As written by `docker login`.
    let ocip = Ocip::new();
    let auth = json!({ "username": USER, "password": PASSWORD });
    let config = json!({ "auths": { guarded.registry.address().to_string(): auth } });
    fs::create_dir(ocip.home.path().join(".docker")).unwrap();
    fs::write(ocip.home.path().join(".docker/config.json"), config.to_string()).unwrap();
    ocip.prints(&root, &guarded.sample, &[], "");
}

fn memory(sample: &Sample) -> Arc<dyn TreeSource> {
    Arc::new(sample.memory.clone())
}

#[test]
fn htpasswd_accepts_a_push_with_the_right_login_only() {
    let Some(guarded) = Guarded::start() else { return };
    let sample = &guarded.sample;
    for (number, login) in [Some(login(PASSWORD)), Some(login("wrong")), None].into_iter().enumerate() {
        for client in clients(&guarded.registry, login.as_ref()) {
            let to = format!("{}/pushed/{}-{number}:1", guarded.registry.address(), client.name());
            let to = to.parse().unwrap();
            let pushed = client.push(&sample.root, &to, memory(sample), TransferOptions::default());
            if number == 0 {
                pushed.unwrap();
                walks(&*client, &to, sample);
                downloads(&*client, &to, sample);
            } else {
                let error = pushed.unwrap_err();
                assert!(error.is_unauthorized(), "{}: {error}", client.name());
            }
        }
    }
}

/// The first request of a push only reads, but its token is for the whole push.
#[test]
fn a_push_fetches_one_token_and_a_mount_asks_for_its_source() {
    let mut rules = Rules::default();
    rules.anonymous = false;
    rules.login = Some((USER.to_owned(), PASSWORD.to_owned()));
    let Some(tokened) = Tokened::start(rules) else { return };
    let sample = &tokened.sample;
    let scopes = || -> Vec<Vec<String>> { tokened.tokens.take().into_iter().map(|one| one.scopes).collect() };
    for client in clients(&tokened.registry, Some(&login(PASSWORD))) {
        let (address, name) = (tokened.registry.address(), client.name());
        let to = format!("{address}/pushed/{name}:1").parse().unwrap();
        client.push(&sample.root, &to, memory(sample), TransferOptions::default()).unwrap();
        let target = format!("repository:pushed/{name}:pull,push");
        assert_eq!(scopes(), [vec![target.clone()]], "{name}");
        client.push(&sample.root, &to, memory(sample), TransferOptions::default()).unwrap();
        assert_eq!(scopes(), <[Vec<String>; 0]>::default(), "{name}: the token is used again");

        let copy = format!("{address}/copied/{name}:1").parse().unwrap();
        client.copy(&to, &copy, TransferOptions::default()).unwrap();
        let allowed =
            [format!("repository:copied/{name}:pull,push"), format!("repository:pushed/{name}:pull")];
        let asked = scopes();
        assert!(asked.iter().flatten().all(|scope| allowed.contains(scope)), "{name}: {asked:?}");
        assert!(asked.len() <= 2, "{name}: {asked:?}");
        walks(&*client, &copy, sample);
    }
}

#[test]
fn htpasswd_refuses_a_wrong_login_and_none() {
    let Some(guarded) = Guarded::start() else { return };
    let root = root(guarded.registry.address());
    for (login, hint, requests) in [(None, "log in", 1), (Some(login("wrong")), "login is wrong", 2)] {
        for client in clients(&guarded.registry, login.as_ref()) {
            let error = client.walk(&root, WalkOptions::default()).unwrap_err();
            assert!(error.is_unauthorized(), "{}: {error}", client.name());
            assert!(error.hint().is_some_and(|said| said.contains(hint)), "{:?}", error.hint());
            assert_eq!(client.requests(), requests, "{} stops at the refusal", client.name());
        }
    }
    let (ocip, name) = (Ocip::new(), root.to_string());
    for adapter in ["tokio", "ureq"] {
        let arguments = ["resolve", &name, "--username", USER, "--password-stdin"];
        let output = ocip.run(adapter, &arguments, "wrong");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("401") && said.contains("hint: the login is wrong"), "{said}");
    }
}

#[test]
fn a_walk_fetches_one_token_for_its_scope() {
    let mut rules = Rules::default();
    rules.login = Some((USER.to_owned(), PASSWORD.to_owned()));
    rules.identity = Some(IDENTITY.to_owned());
    let Some(tokened) = Tokened::start(rules) else { return };
    let root = root(tokened.registry.address());
    let identity = Some(Credentials::login("<token>", IDENTITY).unwrap());
    for (login, requester) in [
        (None, Requester::Anonymous),
        (Some(login(PASSWORD)), Requester::User),
        (identity, Requester::Identity),
    ] {
        for client in clients(&tokened.registry, login.as_ref()) {
            walks(&*client, &root, &tokened.sample);
            assert_eq!(client.requests(), 1 + 1 + 12, "{}: a challenge, a token, the walk", client.name());
            downloads(&*client, &root, &tokened.sample);
            walks(&*client, &root, &tokened.sample);
            assert_eq!(tokened.asked(), [requester], "{}", client.name());
        }
    }
}

#[test]
fn ocip_sends_its_login_to_the_token_server() {
    let mut rules = Rules::default();
    rules.anonymous = false;
    rules.login = Some((USER.to_owned(), PASSWORD.to_owned()));
    let Some(tokened) = Tokened::start(rules) else { return };
    let root = root(tokened.registry.address());
    Ocip::new().prints(&root, &tokened.sample, &["--username", USER, "--password-stdin"], PASSWORD);
    // A tree and three nonempty blobs, on two adapters.
    assert_eq!(tokened.asked(), [Requester::User; 8]);
}

#[test]
fn a_token_server_that_refuses_is_asked_once() {
    let mut rules = Rules::default();
    rules.anonymous = false;
    rules.login = Some((USER.to_owned(), PASSWORD.to_owned()));
    let Some(tokened) = Tokened::start(rules) else { return };
    let root = root(tokened.registry.address());
    for (login, requester) in [(None, Requester::Anonymous), (Some(login("wrong")), Requester::Stranger)] {
        for client in clients(&tokened.registry, login.as_ref()) {
            let error = client.walk(&root, WalkOptions::default()).unwrap_err();
            assert!(error.is_unauthorized(), "{}: {error}", client.name());
            let said = error.to_string();
            assert!(said.contains("token server") && said.contains("unknown user"), "{said}");
            assert_eq!(tokened.asked(), [requester], "{}", client.name());
        }
    }
}

/// The token server declares a lifetime of three seconds, which counts as a minute, so the registry refuses
/// the expired token.
#[test]
fn an_expired_token_is_replaced_once() {
    let mut rules = Rules::default();
    rules.lifetime = Duration::from_secs(3);
    let Some(tokened) = Tokened::start(rules) else { return };
    let root = root(tokened.registry.address());
    let walks_twice = |client: Box<dyn Adapter>| {
        walks(&*client, &root, &tokened.sample);
        thread::sleep(Duration::from_millis(3100));
        let (since, requests) = (Instant::now(), client.requests());
        // Concurrent walks: each is refused with the expired token, and waits for the same new one.
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| client.resolve(&root, None).unwrap());
            }
        });
        let more = client.requests() - requests;
        // Those that started after the new token arrived needed only one request.
        assert!((1 + 1 + 4..=1 + 2 * 4).contains(&more), "{}: {more} requests", client.name());
        walks(&*client, &root, &tokened.sample);
        since.elapsed()
    };
    let took: Vec<Duration> = thread::scope(|scope| {
        let threads = clients(&tokened.registry, None).map(|client| scope.spawn(|| walks_twice(client)));
        threads.map(|thread| thread.join().unwrap()).into()
    });
    let asked = tokened.asked();
    assert_eq!(asked, [Requester::Anonymous; 4], "each client fetches two tokens; durations: {took:?}");
}

//! No secret is shown, whatever fails: in any output of `ocip -v`, of both adapters and of their
//! dependencies, with servers that echo everything that they receive.

mod logs;
mod planted;
mod scenarios;
mod writing;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use oci_proto::header::Warning;
use oci_proto::record::{Keep, Player};
use oci_proto::{Config, Credentials, Error, Reference, Retry};
use oci_proto_common::Settings;
use oci_proto_tests::adapter::Blob;
use oci_proto_tests::clients::MAKERS;
use oci_proto_tests::interop::{Host, ocip};
use oci_proto_tokio::credentials::Store;
use planted::{IDENTITY, PASSWORD, USER, secrets};
use scenarios::{Login, SCENARIOS, Scenario};
use tempfile::TempDir;

/// A manifest and a blob that no server has.
const NAMES: [&str; 2] =
    ["team/app:1", "team/app@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"];

#[test]
fn no_secret_is_shown_whatever_fails() {
    let heard = logs::listen();
    thread::scope(|scope| {
        for scenario in SCENARIOS {
            scope.spawn(move || {
                let server = Host::start(scenario.answer);
                for name in NAMES {
                    let reference = format!("{}/{name}", server.address()).parse().unwrap();
                    let home = Home::of(&scenario.login, &reference);
                    for (adapter, make) in MAKERS {
                        scenario.check(adapter, "the adapter", &called(&home, &reference, make));
                        let command = if reference.digest().is_none() { "manifest" } else { "blob" };
                        let output = home.run(adapter, &[command, &reference.to_string()]);
                        assert_eq!(output.status.code(), Some(1), "{}: {output:?}", scenario.name);
                        let said = [output.stdout, output.stderr].concat();
                        scenario.check(adapter, "ocip", &String::from_utf8_lossy(&said));
                        let file = home.folder.path().join(adapter);
                        let record =
                            ["record", file.to_str().unwrap(), "--", command, &reference.to_string()];
                        assert_eq!(home.run(adapter, &record).status.code(), Some(1), "{}", scenario.name);
                        let recorded = fs::read_to_string(file).unwrap();
                        silent_about(scenario.name, &recorded);
                        replay(&recorded);
                    }
                }
            });
        }
    });
    let heard = heard.lock().unwrap();
    for library in ["ureq", "hyper_util", "rustls"] {
        assert!(heard.contains(library), "no events of {library}");
    }
    silent_about("a log", &heard);
}

impl Scenario {
    /// Fails the test unless the scenario reached its end without showing a secret.
    #[track_caller]
    fn check(&self, adapter: &str, what: &str, said: &str) {
        for words in self.said {
            assert!(said.contains(words), "{}, {what}, {adapter}: no {words:?} in:\n{said}", self.name);
        }
        silent_about(&format!("{}, {what}, {adapter}", self.name), said);
    }
}

#[track_caller]
fn silent_about(what: &str, said: &str) {
    for secret in secrets() {
        if let Some(at) = said.find(&secret) {
            let start = said[..at].rfind('\n').unwrap_or(0);
            let line = said[start..].trim_start().lines().next().unwrap_or_default();
            panic!("{what}: {secret:?} is shown in: {line}");
        }
    }
}

/// All output of a client about a failing operation.
fn called(home: &Home, reference: &Reference, make: oci_proto_tests::adapter::Make) -> String {
    let said = Arc::new(Mutex::new(String::new()));
    let (retries, warnings) = (said.clone(), said.clone());
    let mut config = Config::default();
    config.limits.max_attempts = 2;
    config.limits.backoff_first = Duration::from_millis(1);
    let on_retry = move |retry: &Retry| {
        let mut said = retries.lock().unwrap();
        writeln!(said, "{retry:?}\n{retry:#?}").unwrap();
        tell(&mut said, &retry.error);
    };
    let on_warning = move |warning: &Warning| {
        writeln!(warnings.lock().unwrap(), "{warning}\n{warning:?}\n{}", warning.text()).unwrap();
    };
    let settings = Settings::default().config(config).credentials(home.store.clone());
    let recorded = Arc::new(Mutex::new(String::new()));
    let recording = recorded.clone();
    let settings = settings.on_retry(on_retry).on_warning(on_warning).record(Keep::Everything, move |text| {
        recording.lock().unwrap().push_str(text);
    });
    let client = make(&settings);
    let error = match reference.digest() {
        None => client.manifest(reference, None).map(drop),
        Some(_) => client.blob_to(Blob::Named(reference, None), &mut Vec::new()).map(drop),
    };
    tell(&mut said.lock().unwrap(), &error.expect_err("the content does not exist"));
    if reference.digest().is_some() {
        let error = client.blob_read(Blob::Named(reference, None)).unwrap_err();
        writeln!(said.lock().unwrap(), "{error}\n{error:?}\n{error:#?}").unwrap();
    }
    let mut said = said.lock().unwrap();
    writeln!(said, "{client:?}\n{:?}\n{settings:?}", home.store).unwrap();
    let recorded = recorded.lock().unwrap();
    replay(&recorded);
    said.push_str(&recorded);
    said.clone()
}

/// Fails the test unless the recording is replayed exactly.
#[track_caller]
fn replay(recorded: &str) {
    let mut player = Player::new();
    let replayed = recorded.lines().try_for_each(|line| player.push(line).map(drop));
    let replayed = replayed.and_then(|()| player.finish());
    let replayed = replayed.unwrap_or_else(|error| panic!("{error:?} in the replay of\n{recorded}"));
    assert!(replayed.exchanges > 0, "{replayed:?}");
}

fn tell(said: &mut String, error: &Error) {
    writeln!(said, "{error}\n{error:?}\n{error:#?}\n{:?}\n{:?}", error.cause(), error.hint()).unwrap();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        writeln!(said, "{error}\n{error:?}").unwrap();
        source = error.source();
    }
}

/// A user's home directory with the credentials of a scenario, and the store that reads them.
struct Home {
    folder: TempDir,
    arguments: &'static [&'static str],
    stdin: &'static str,
    store: Store,
}

impl Home {
    fn with_password(reference: &Reference) -> Self {
        Self::of(&Login::Password, reference)
    }

    fn of(login: &Login, reference: &Reference) -> Self {
        let folder = TempDir::with_prefix("secrets-").unwrap();
        let given = |name: &str, secret: &str| {
            Store::none().login(reference.registry().clone(), Credentials::login(name, secret).unwrap())
        };
        let (arguments, stdin, store): (&[&str], _, _) = match *login {
            Login::Nobody => (&[], "", Store::none()),
            Login::Password => (&["--username", USER, "--password-stdin"], PASSWORD, given(USER, PASSWORD)),
            Login::Identity => {
                (&["--username", "<token>", "--password-stdin"], IDENTITY, given("<token>", IDENTITY))
            }
            Login::File(content) => {
                let config = content.replace("REGISTRY", reference.registry().as_str());
                fs::write(folder.path().join("config.json"), config).unwrap();
                (&[], "", found(&folder))
            }
            Login::Helper(script) => {
                let config = format!("{{\"credHelpers\": {{\"{}\": \"test\"}}}}", reference.registry());
                fs::write(folder.path().join("config.json"), config).unwrap();
                install(&folder, script);
                (&[], "", found(&folder))
            }
        };
        Self { folder, arguments, stdin, store }
    }

    /// Runs `ocip` with maximum verbosity.
    fn run(&self, adapter: &str, command: &[&str]) -> Output {
        let mut ocip = ocip();
        ocip.env_clear()
            .env("HOME", self.folder.path())
            .env("DOCKER_CONFIG", self.folder.path())
            .env("PATH", format!("{}:/usr/bin:/bin", self.folder.path().display()))
            .env("RUST_LOG", "trace")
            .env("RUST_BACKTRACE", "full")
            .args(command)
            .args(["-v", "--retries", "1", "--adapter", adapter])
            .args(self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = ocip.spawn().unwrap();
        // It may exit without reading its input.
        let _ = child.stdin.take().unwrap().write_all(self.stdin.as_bytes());
        child.wait_with_output().unwrap()
    }
}

/// The store that `ocip` uses in this home directory.
fn found(folder: &TempDir) -> Store {
    Store::from_vars(|name| match name {
        "DOCKER_CONFIG" => Some(folder.path().into()),
        "PATH" => Some(format!("{}:/usr/bin:/bin", folder.path().display()).into()),
        _ => None,
    })
}

/// Written by another process: a file that this process has open for writing cannot be executed.
fn install(folder: &TempDir, script: &str) {
    let mut install = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod +x \"$0\""])
        .arg(folder.path().join("docker-credential-test"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    write!(install.stdin.take().unwrap(), "#!/bin/sh\n{script}\n").unwrap();
    assert!(install.wait().unwrap().success());
}

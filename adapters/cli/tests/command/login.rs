//! Logins, and the secrecy of passwords.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{
    ADAPTERS, LOGIN_VARIABLES, Ran, command, ocip, ocip_with, on_both, ran, response, sample,
    scripted_by_head, with_headers,
};

const PASSWORD: &str = "hunter2 and more";
/// `user:` and the password, in base64.
const AUTH: &str = "dXNlcjpodW50ZXIyIGFuZCBtb3Jl";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A registry that requires this login, and serves one manifest under every name.
fn registry() -> SocketAddr {
    scripted_by_head(|head| {
        let is_login = |line: &&String| {
            let line = line.split_once(": ");
            line.is_some_and(|(name, value)| {
                name.eq_ignore_ascii_case("authorization") && value == format!("Basic {AUTH}")
            })
        };
        if head.iter().find(is_login).is_some() {
            let body = format!("{{\"schemaVersion\": 2, \"mediaType\": \"{INDEX}\", \"manifests\": []}}");
            return response("200 OK", INDEX, body.as_bytes());
        }
        let refusal = response("401 Unauthorized", "text/plain", b"who are you?");
        let refusal = String::from_utf8(refusal).unwrap();
        refusal.replace("Connection:", "WWW-Authenticate: Basic realm=\"test\"\r\nConnection:").into_bytes()
    })
}

/// A directory with Docker's `config.json` in it.
fn directory(config: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.json"), config).unwrap();
    directory
}

fn config(registry: SocketAddr) -> String {
    format!("{{\"auths\": {{\"{registry}\": {{\"auth\": \"{AUTH}\"}}}}}}")
}

#[track_caller]
fn assert_no_secret(ran: &Ran) {
    for secret in [PASSWORD, "hunter2", AUTH] {
        assert!(!ran.stderr.contains(secret) && !ran.text().contains(secret), "{ran:?}");
    }
}

#[test]
fn the_password_is_read_from_stdin() {
    let name = format!("{}/demo", registry());
    for adapter in ADAPTERS {
        for end in ["", "\n", "\r\n"] {
            let arguments =
                ["-v", "--adapter", adapter, "manifest", "--username", "user", "--password-stdin", &name];
            let ran = ocip_with(&arguments, format!("{PASSWORD}{end}").as_bytes()).succeeded();
            assert!(ran.text().contains(INDEX), "{}", ran.text());
            assert_no_secret(&ran);
        }
    }
}

#[test]
fn a_wrong_password_is_reported_but_not_shown() {
    let name = format!("{}/demo", registry());
    for adapter in ADAPTERS {
        let arguments = ["-v", "--adapter", adapter, "tree", "--username", "user", "--password-stdin", &name];
        for wrong in [format!("{PASSWORD}\n\n"), format!(" {PASSWORD}"), format!("{PASSWORD} ")] {
            let ran = ocip_with(&arguments, wrong.as_bytes());
            ran.failed(1, &["error: GET http://", "401 Unauthorized", "hint: the login is wrong"]);
            assert_no_secret(&ran);
        }
    }
}

#[test]
fn without_a_login_the_hint_shows_how_to_log_in() {
    let ran = on_both(&["resolve", &format!("{}/demo", registry())]);
    ran.failed(1, &["401 Unauthorized", "hint: log in with `ocip login`", "--username", "--password-stdin"]);
}

#[test]
fn auth_file_replaces_other_logins() {
    let registry = registry();
    let directory = directory(&config(registry));
    let file = directory.path().join("config.json");
    let name = format!("{registry}/demo");
    let ran = on_both(&["-v", "resolve", "--auth-file", file.to_str().unwrap(), &name]).succeeded();
    assert_no_secret(&ran);
    let source = format!("the login for {registry} came from {}\n", file.display());
    assert!(ran.stderr.contains(&source), "{ran:?}");

    on_both(&["resolve", "--auth-file", "/dev/null", &name]).failed(1, &["401 Unauthorized"]);
    ocip(&["resolve", "--auth-file", "/no/such/file", &name])
        .failed(2, &["error: --auth-file /no/such/file: No such file"]);
}

#[test]
fn the_logins_of_docker_are_used() {
    let registry = registry();
    let directory = directory(&config(registry));
    let run = |adapter, path: &Path| {
        command(&["--adapter", adapter, "resolve", &format!("{registry}/demo")])
            .env("DOCKER_CONFIG", path)
            .output()
            .unwrap()
    };
    for adapter in ADAPTERS {
        assert_eq!(run(adapter, directory.path()).status.code(), Some(0), "{adapter}");
        assert_eq!(run(adapter, Path::new("/dev/null")).status.code(), Some(1), "{adapter}");
    }
}

#[test]
fn a_failed_look_up_is_an_error_with_a_hint() {
    let registry = registry();
    let name = format!("{registry}/demo");
    let helper = directory("{\"credsStore\": \"nonesuch\"}");
    let broken = directory(&config(registry).replace("\"}}", "\"}"));
    for (directory, expected) in [(&helper, "docker-credential-nonesuch"), (&broken, "not JSON")] {
        let file = directory.path().join("config.json");
        let file = file.to_str().unwrap();
        let ran = on_both(&["-v", "resolve", "--auth-file", file, &name]);
        ran.failed(1, &["error: ", file, expected, "hint: ", "--auth-file", "--username"]);
        assert_no_secret(&ran);
    }
}

#[test]
fn a_wrong_login_names_its_source() {
    let registry = registry();
    let wrong = directory(&config(registry).replace(AUTH, "dXNlcjp3cm9uZw=="));
    let file = wrong.path().join("config.json");
    let name = format!("{registry}/demo");
    let ran = on_both(&["resolve", "--auth-file", file.to_str().unwrap(), &name]);
    ran.failed(1, &["401 Unauthorized", &format!("hint: the login from {} is wrong", file.display())]);

    let helper = directory("{\"credsStore\": \"test\"}");
    install(&helper, "echo '{\"Username\": \"user\", \"Secret\": \"wrong\"}'");
    let source = format!("`docker-credential-test` in {}", helper.path().join("config.json").display());
    for adapter in ADAPTERS {
        let output = with_helper(adapter, &helper, &["manifest", &name]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(&format!("hint: the login from the credential helper {source}")), "{stderr}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_helper_ends_with_the_command() {
    use std::os::unix::process::ExitStatusExt as _;

    let name = format!("{}/demo", registry());
    std::thread::scope(|scope| {
        for adapter in ADAPTERS {
            for signal in [None, Some("INT"), Some("QUIT"), Some("TERM"), Some("HUP")] {
                let name = &name;
                scope.spawn(move || {
                    let home = directory("{\"credsStore\": \"test\"}");
                    install(&home, "sleep 60 & echo $! > \"$0.child\"; echo $$ > \"$0.pid\"; wait");
                    let note = |name: &str| {
                        let path = home.path().join(format!("docker-credential-test.{name}"));
                        fs::read_to_string(path).unwrap_or_default().trim().to_owned()
                    };
                    let timeout = if signal.is_some() { "60" } else { "2" };
                    let words = ["resolve", "--timeout", timeout, name];
                    let mut child = with_helper(adapter, &home, &words).spawn().unwrap();
                    wait_until("the helper runs", || !note("pid").is_empty());
                    if let Some(signal) = signal {
                        let mut kill = Command::new("kill");
                        assert!(
                            kill.args(["-s", signal, &child.id().to_string()]).status().unwrap().success()
                        );
                    }
                    let status = child.wait().unwrap();
                    let number = match signal {
                        None => None,
                        Some("HUP") => Some(1),
                        Some("INT") => Some(2),
                        Some("QUIT") => Some(3),
                        Some(_) => Some(15),
                    };
                    assert_eq!((status.signal(), status.code()), (number, signal.is_none().then_some(1)));
                    for pid in [note("pid"), note("child")] {
                        wait_until("the helper has ended", || !runs(&pid));
                    }
                });
            }
        }
    });
}

/// Whether a process runs. A zombie, for which only its parent can wait, does not count.
#[cfg(target_os = "linux")]
fn runs(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[cfg(target_os = "linux")]
#[track_caller]
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !holds() {
        assert!(std::time::Instant::now() < until, "not in time: {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// The command with the configuration and the helpers in a directory.
fn with_helper(adapter: &str, directory: &TempDir, words: &[&str]) -> Command {
    let mut ocip = command(&[&["--adapter", adapter], words].concat());
    ocip.env("DOCKER_CONFIG", directory.path());
    ocip.env("PATH", format!("{}:/usr/bin:/bin", directory.path().display()));
    ocip.stdout(Stdio::null()).stderr(Stdio::piped());
    ocip
}

/// Adds a credential helper that is a shell script. It is written by another process: a file that this process
/// has open for writing cannot be executed.
fn install(directory: &TempDir, script: &str) {
    let mut install = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod +x \"$0\""])
        .arg(directory.path().join("docker-credential-test"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    write!(install.stdin.take().unwrap(), "#!/bin/sh\n{script}\n").unwrap();
    assert!(install.wait().unwrap().success());
}

#[test]
fn the_login_of_a_proxy_is_not_shown() {
    let proxy = scripted_by_head(|head| {
        let shown = head.iter().find(|line| line.to_lowercase().starts_with("proxy-authorization"));
        let echo = format!("{}, user:hunter2", shown.expect("a login"));
        response("403 Forbidden", "text/plain", echo.as_bytes())
    });
    for adapter in ADAPTERS {
        let mut ocip = command(&["--adapter", adapter, "manifest", "--plain-http", "registry.example/demo"]);
        ocip.env("HTTP_PROXY", format!("http://user:hunter2@{proxy}"));
        let stderr = String::from_utf8(ocip.output().unwrap().stderr).unwrap();
        assert!(stderr.contains("Basic REDACTED, user:REDACTED"), "{adapter}: {stderr}");
        assert!(stderr.contains("403"), "{stderr}");
        assert!(!stderr.contains("hunter2") && !stderr.contains("dXNlcjpodW50ZXIy"), "{stderr}");
    }
}

#[test]
fn invalid_login_options_are_explained() {
    let cases: &[(&[&str], &[u8], &str)] = &[
        (&["--username", "user"], b"", "--username requires --password-stdin"),
        (&["--password-stdin"], b"hunter2", "--password-stdin requires --username NAME"),
        (&["--username", "user", "--password-stdin"], b"", "no password on stdin"),
        (&["--username", "user", "--password-stdin"], b"\r\n", "no password on stdin"),
        (&["--username", "user", "--password-stdin"], b"hunter2\xff", "not UTF-8"),
        (&["--username", "user", "--password-stdin"], &b"x".repeat(1 << 17), "longer than 64 KiB"),
        (&["--username", "us:er", "--password-stdin"], b"hunter2", "must not contain a colon"),
    ];
    for (arguments, stdin, expected) in cases {
        // Nothing listens on this port, in case a connection is attempted.
        let ran = ocip_with(&[&["resolve", "127.0.0.1:1/demo"], *arguments].concat(), stdin);
        ran.failed(2, &["error: --", expected]);
        assert_no_secret(&ran);
    }
}

#[test]
fn a_token_server_that_refuses_a_push_does_not_blame_the_login_of_the_source() {
    let source = registry();
    let directory = directory(&config(source));
    let file = directory.path().join("config.json").display().to_string();
    let tokens = scripted_by_head(|_| response("401 Unauthorized", "text/plain", b""));
    let destination = scripted_by_head(move |_| {
        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{tokens}/token\",service=\"s\"");
        with_headers(response("401 Unauthorized", "text/plain", b""), challenge.as_bytes())
    });
    for adapter in ADAPTERS {
        let (from, to) = (format!("{source}/demo:1"), format!("{destination}/app:1"));
        let arguments = ["copy", "--adapter", adapter, "--auth-file", &file, &from, &to];
        let ran = ocip_with(&[&arguments[..], &["--username", "me", "--password-stdin"]].concat(), b"wrong");
        let hint = "hint: the login is wrong, or lacks permission to push, which is repository:app:";
        ran.failed(1, &["/token?", "token server answered 401 Unauthorized", hint]);
        assert!(!ran.stderr.contains("config.json"), "{}", ran.stderr);
    }
}

/// Runs the command with the files of this home directory.
fn at_home(home: &Path, arguments: &[&str], stdin: &str) -> Ran {
    let mut child = command(arguments)
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may exit without reading its input.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    ran(&child.wait_with_output().unwrap())
}

#[test]
fn a_login_is_stored_once_the_registry_accepts_it_and_removed() {
    let registry = registry().to_string();
    for adapter in ADAPTERS {
        let home = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str], stdin: &str| {
            at_home(home.path(), &[&["--adapter", adapter], arguments].concat(), stdin)
        };
        let file = home.path().join(".docker/config.json");
        let name = format!("{registry}/demo");
        let login = ["-v", "login", "--username", "user", "--password-stdin", &registry];

        let refused = run(&login, "wrong");
        refused
            .failed(1, &["/v2/: the registry answered 401", "hint: the user name or the password is wrong"]);
        assert!(!file.exists());

        let accepted = run(&login, PASSWORD).succeeded();
        assert_eq!(accepted.text(), "");
        let expected = format!("logged in to {registry} as user; the login is in {}", file.display());
        assert!(accepted.stderr.contains(&expected), "{accepted:?}");
        assert_no_secret(&accepted);
        run(&["resolve", &name], "").succeeded();

        let removed = run(&["logout", &registry], "").succeeded();
        let expected = format!("removed the login for {registry} from {}\n", file.display());
        assert_eq!((removed.text(), removed.stderr.as_str()), ("", expected.as_str()));
        run(&["resolve", &name], "").failed(1, &["401"]);
        let again = run(&["logout", &registry], "").succeeded();
        assert_eq!(again.stderr, format!("there is no login for {registry}\n"));
    }
}

#[test]
fn a_login_goes_where_podman_keeps_its_own_or_where_it_is_told() {
    let registry = registry().to_string();
    let home = tempfile::tempdir().unwrap();
    let podman = home.path().join("containers/auth.json");
    fs::create_dir(podman.parent().unwrap()).unwrap();
    fs::write(&podman, "{}").unwrap();
    let login = ["login", "--username", "user", "--password-stdin", &registry];
    at_home(home.path(), &login, PASSWORD).succeeded();
    assert!(fs::read_to_string(&podman).unwrap().contains(&registry));

    let told = home.path().join("told.json").display().to_string();
    at_home(home.path(), &[&login[..], &["--auth-file", &told]].concat(), PASSWORD).succeeded();
    assert!(fs::read_to_string(&told).unwrap().contains(AUTH));
}

#[test]
fn a_login_that_nobody_asked_for_is_stored_with_a_warning() {
    let registry = sample().to_string();
    let home = tempfile::tempdir().unwrap();
    let login = ["login", "--username", "user", "--password-stdin", &registry];
    let ran = at_home(home.path(), &login, PASSWORD).succeeded();
    assert!(ran.stderr.contains("warning: ") && ran.stderr.contains("was not checked"), "{ran:?}");
}

#[test]
fn a_login_without_a_terminal_or_with_another_name_is_a_usage_error() {
    let home = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["login", "registry.example"][..], "hint: use --username NAME and --password-stdin"),
        (&["login", "--username", "u", "registry.example"], "hint: use --username NAME and --password-stdin"),
        (&["login", "--password-stdin", "registry.example"], "--password-stdin requires --username NAME"),
        (&["login", "--username", "a:b", "--password-stdin", "registry.example"], "a colon"),
        (&["login", "https://registry.example"], "hint: did you mean: ocip login registry.example\n"),
        (&["logout", "registry.example/team"], "hint: did you mean: ocip logout registry.example\n"),
        (&["login", "registry_"], "`registry_` is not a registry"),
    ] {
        at_home(home.path(), arguments, PASSWORD).failed(2, &[expected]);
    }
}

#[test]
fn a_password_typed_on_a_terminal_is_not_shown() {
    let registry = registry().to_string();
    let home = tempfile::tempdir().unwrap();
    let line = format!("'{}' login {registry}", env!("CARGO_BIN_EXE_ocip"));
    let mut terminal = Command::new("script");
    for name in LOGIN_VARIABLES {
        terminal.env_remove(name);
    }
    let mut terminal = terminal
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("HOME", home.path())
        .env("XDG_RUNTIME_DIR", home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of util-linux, runs");
    let (mut keyboard, mut screen) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let mut shown = String::new();
    for (question, answer) in [("User name for ", "user\n"), ("(not shown): ", "hunter2 and more\n")] {
        let mut buffer = [0; 256];
        while !shown.contains(question) {
            let read = screen.read(&mut buffer).unwrap();
            assert!(read > 0, "{shown}");
            shown.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        // Typed after the question, once the terminal does not echo any more.
        std::thread::sleep(std::time::Duration::from_millis(200));
        keyboard.write_all(answer.as_bytes()).unwrap();
    }
    screen.read_to_string(&mut shown).unwrap();
    assert!(terminal.wait().unwrap().success(), "{shown}");
    assert!(shown.contains("logged in to") && !shown.contains("hunter2"), "{shown}");
}

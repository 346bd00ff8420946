//! `ocip serve --writable`: pushed to, read from, restarted, refused.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{ADAPTERS, Ran, Serving, command, home, ocip, ocip_with, on_both, ran};

fn in_home(home: &TempDir, arguments: &[&str]) -> Ran {
    ran(&command(arguments).current_dir(home.path()).output().unwrap())
}

/// Serves a directory, and waits for its lines. `repositories` are those that it has.
fn serve(directory: &Path, options: &[&str], repositories: &[&str]) -> Serving {
    let directory = directory.to_str().unwrap();
    let arguments = [options, &["--writable", directory]].concat();
    let serving = Serving::start(&arguments, repositories.len().max(1) + 1);
    let address = serving.address();
    let mut expected = vec![format!("http://{address} serves {directory} until Ctrl-C:")];
    expected.extend(repositories.iter().map(|repository| format!("{address}/{repository}")));
    if repositories.is_empty() {
        expected.push("no repositories yet".to_owned());
    }
    expected.push("everyone who can reach it may push and delete".to_owned());
    assert_eq!(serving.lines, expected);
    serving
}

#[cfg(unix)]
#[test]
fn what_is_pushed_is_on_disk_and_found_by_the_next_server() {
    let (home, root) = home();
    let directory = home.path().join("new/registry");
    let repositories = ["copied", "team/ureq", "tokio"];
    let serving = serve(&directory, &[], &[]);
    let address = serving.address().to_owned();
    let (app, copied) = (format!("{address}/tokio:1.0"), format!("{address}/copied:2.0"));
    in_home(&home, &["--adapter", "tokio", "push", "lay:1.0", &app]).succeeded();
    in_home(&home, &["--adapter", "ureq", "push", "lay:1.0", &format!("{address}/team/ureq:1.0")])
        .succeeded();
    for (adapter, tag) in ADAPTERS.iter().zip(["a", "b"]) {
        ocip(&["--adapter", adapter, "tag", &app, tag]).succeeded();
        ocip(&["--adapter", adapter, "copy", &app, &copied]).succeeded();
    }
    in_home(&home, &["attach", &copied, "note.txt", "--artifact-type", "text/plain"]).succeeded();
    let deleted = format!("{address}/tokio:a");
    ocip(&["delete", &deleted]).succeeded();
    on_both(&["resolve", &deleted]).failed(1, &["404"]);
    assert_eq!(serving.interrupt("-TERM"), (Some(0), "stopped\n".to_owned()));

    for repository in repositories {
        let layout = format!("oci:{}", directory.join(repository).display());
        assert_eq!(ocip(&["check", &layout]).succeeded().text(), "", "{layout}");
    }
    let serving = serve(&directory, &[], &repositories);
    let address = serving.address();
    for (name, tags) in [("copied", "2.0\n"), ("team/ureq", "1.0\n"), ("tokio", "1.0\nb\n")] {
        assert_eq!(on_both(&["tags", &format!("{address}/{name}")]).succeeded().text(), tags);
    }
    let copied = format!("{address}/copied:2.0");
    let referrers = on_both(&["referrers", &copied]).succeeded();
    assert!(referrers.text().trim_end().ends_with("text/plain"), "{}", referrers.text());
    let pulled = in_home(&home, &["pull", &copied, "pulled"]).succeeded();
    assert!(pulled.text().contains(&root.digest.to_string()), "{}", pulled.text());
    let tree = |name: &str| in_home(&home, &["tree", "--json", "--blobs", name]).succeeded().stdout;
    assert_eq!(tree("oci:pulled:2.0"), tree("oci:lay:1.0"));
}

#[cfg(unix)]
#[test]
fn a_warning_and_the_log_of_requests_are_also_for_a_layout() {
    let (home, _) = home();
    let warning = ["-v", "--warning", "moves to \"new\" soon"];
    let (layout, directory) = (home.path().join("lay"), home.path().join("registry"));
    for (served, further) in
        [(&[layout.to_str().unwrap()][..], 1), (&["--writable", directory.to_str().unwrap()], 2)]
    {
        let serving = Serving::start(&[&warning[..], served].concat(), further);
        let (answered, head) = asked(serving.address(), "GET /v2/ HTTP/1.1\r\nHost: localhost\r\n");
        assert!(
            answered == 200 && head.contains("\r\nwarning: 299 - \"moves to \\\"new\\\" soon\"\r\n"),
            "{head}"
        );
        let (status, stderr) = serving.interrupt("-INT");
        assert_eq!(status, Some(0));
        let lines: Vec<_> = stderr.lines().collect();
        assert!(lines.len() == 2 && lines[0].contains("] \"GET /v2/ HTTP/1.1\" 200 2 "), "{stderr}");
    }
    for text in ["", "two\nlines"] {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--warning", text, layout.to_str().unwrap()];
        ocip(&arguments).failed(2, &["--warning", "without control characters"]);
    }
}

/// Sends a request, and returns the status and the head of its response.
#[cfg(unix)]
fn asked(address: &str, head: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).unwrap();
    let response = std::io::read_to_string(stream).unwrap();
    let (head, _) = response.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), format!("{head}\r\n"))
}

/// The number of connections comes near the usual limit.
#[cfg(target_os = "linux")]
#[test]
fn enough_files_may_be_open() {
    let home = tempfile::tempdir().unwrap();
    let program = command(&[]).get_program().to_owned();
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -Sn 1024; exec \"$0\" serve --listen 127.0.0.1:0 --writable \"$1\""])
        .arg(program)
        .arg(home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It listens.
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).collect();
    let hard = numbers[1].parse().unwrap_or(u64::MAX);
    assert_eq!(numbers[0], hard.min(4096).to_string(), "{line}");
}

#[test]
fn another_server_of_the_same_directory_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().to_str().unwrap();
    let serving = serve(home.path(), &[], &[]);
    let second = ["serve", "--listen", "127.0.0.1:0", "--writable", directory];
    ocip(&second).failed(1, &[directory, "another process serves this directory; stop it first"]);
    drop(serving);
    // The lock of a process that was killed is gone.
    drop(serve(home.path(), &[], &[]));

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    ocip(&["serve", "--listen", &address, "--writable", directory])
        .failed(1, &[&address, "hint: ", "--listen"]);
}

#[test]
fn a_mistake_has_the_line_to_type_and_creates_nothing() {
    let (home, _) = home();
    in_home(&home, &["copy", "-q", "oci:lay", "oci-archive:a.tar"]).succeeded();
    fs::create_dir(home.path().join("half")).unwrap();
    fs::write(home.path().join("half/index.json"), "{}").unwrap();
    let files = || {
        fs::read_dir(home.path()).unwrap().count() + fs::read_dir(home.path().join("lay")).unwrap().count()
    };
    let before = files();
    let typed = |line: &str| format!("hint: did you mean: ocip serve {line}\n");
    for (words, expected) in [
        (&["--writable", "oci:lay:1.0"][..], typed("oci:lay:1.0")),
        (&["--writable", "oci:lay"], typed("oci:lay")),
        (&["--writable", "oci:new"], typed("--writable new")),
        (&["--writable", "oci-archive:a.tar"], typed("oci-archive:a.tar")),
        (&["a.tar", "--writable"], typed("oci-archive:a.tar")),
        (&["--writable", "new:1"], typed("--writable new")),
        (&["--writable", "https://h.example/new"], "must not contain a colon\n".to_owned()),
        (&["--repository", "app", "--writable", "new"], typed("--writable new")),
        (&["--repository=app", "--writable", "new"], typed("--writable new")),
        (&["--writable", "lay"], "hint: name the directory above it, or omit --writable".to_owned()),
        (&["--writable", "half"], "hint: name the directory above it, or omit --writable".to_owned()),
        (
            &["--writable", "new", "--listen", "0.0.0.0:0"],
            "hint: listen on 127.0.0.1, require logins ".to_owned(),
        ),
        (&["--writable", "new", "--listen", "[::]:0"], "add --anonymous-writes if ".to_owned()),
        (&["--writable", "new", "--listen", "192.0.2.1:0"], "could push and delete ".to_owned()),
        (&["--anonymous-writes", "lay"], "--writable".to_owned()),
    ] {
        let ran = in_home(&home, &[&["serve"], words].concat());
        ran.failed(2, &["error: ", &expected]);
        assert_eq!((ran.text(), files()), ("", before), "{words:?}: {}", ran.stderr);
    }
    in_home(&home, &["serve", "--writable", "note.txt"]).failed(1, &["note.txt"]);
}

#[cfg(unix)]
#[test]
fn an_address_that_others_reach_is_served_if_that_is_meant() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().to_str().unwrap();
    let arguments = ["serve", "--writable", "--anonymous-writes", "--listen", "0.0.0.0:0", directory];
    let mut child = command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.starts_with("http://0.0.0.0:"), "{line}");
}

#[cfg(unix)]
#[test]
fn warnings_errors_and_requests_are_lines_on_stderr() {
    let (home, _) = home();
    let directory = home.path().join("registry");
    fs::create_dir_all(directory.join("Upper")).unwrap();
    let serving = serve(&directory, &["-v"], &[]);
    let address = serving.address().to_owned();
    in_home(&home, &["push", "lay:1.0", &format!("{address}/app:1.0")]).succeeded();
    // Where a directory is needed.
    fs::write(directory.join("taken"), "").unwrap();
    in_home(&home, &["push", "--retries", "0", "lay:1.0", &format!("{address}/taken:1.0")])
        .failed(1, &["500"]);
    let (status, stderr) = serving.interrupt("-INT");
    assert_eq!(status, Some(0));
    let mut lines = stderr.lines();
    let warning = format!("warning: {}: ", directory.join("Upper").display());
    assert!(lines.next().unwrap().starts_with(&warning), "{stderr}");
    assert_eq!(lines.next_back(), Some("stopped"));
    let error = format!("error: could not store: {}", directory.join("taken").display());
    assert!(stderr.contains(&error), "{stderr}");
    let is_request = |line: &&str| {
        let words: Vec<_> = line.split(' ').collect();
        words.len() == 12 && words[..3] == ["127.0.0.1", "-", "-"] && words[6].starts_with("/v2/")
    };
    let requests: Vec<_> = lines.filter(is_request).collect();
    let tagged =
        requests.iter().find(|line| line.contains("] \"PUT /v2/app/manifests/1.0 HTTP/1.1\" 201 0 945 "));
    assert!(tagged.is_some(), "{stderr}");
    let others = stderr.lines().count() - requests.len();
    assert!(stderr.lines().filter(|line| line.starts_with("error: ")).count() + 2 == others, "{stderr}");

    let quiet = serve(&directory, &["-q"], &["app"]);
    in_home(&home, &["pull", "-q", &format!("{}/app:1.0", quiet.address()), "pulled"]).succeeded();
    assert_eq!(quiet.interrupt("-INT"), (Some(0), String::new()));
}

/// The first signal waits for an upload in progress, and keeps what was received; the second does not wait.
#[cfg(unix)]
#[test]
fn an_upload_in_progress_is_waited_for_until_the_second_signal() {
    let home = tempfile::tempdir().unwrap();
    let serving = serve(home.path(), &[], &[]);
    let address = serving.address().to_owned();
    let upload = begin_upload(&address);
    // More than a client could send at once, and never all of it.
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(stream, "PATCH {upload} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n").unwrap();
    stream.write_all(&vec![7; 100_000]).unwrap();

    let process = serving.child.id().to_string();
    let uploads = home.path().join(".uploads");
    while stored_in(&uploads) < 65_536 {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &process]).status().unwrap().success());
    while TcpStream::connect(&address).is_ok() {
        thread::sleep(Duration::from_millis(5));
    }
    let began = Instant::now();
    let (status, stderr) = serving.interrupt("-TERM");
    assert_eq!((status, &*stderr), (Some(0), "stopped before all requests had finished\n"));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    drop(stream);

    let serving = serve(home.path(), &[], &[]);
    let head = request(serving.address(), &format!("GET {upload}"));
    assert!(head.starts_with("HTTP/1.1 204 "), "{head}");
}

/// Begins an upload, and returns its path.
#[cfg(unix)]
fn begin_upload(address: &str) -> String {
    let head = request(address, "POST /v2/app/blobs/uploads/");
    let location = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("location").then_some(value)
    });
    location.unwrap_or_else(|| panic!("{head}")).to_owned()
}

/// The response to a request without a body.
#[cfg(unix)]
fn request(address: &str, line: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{line} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

/// The number of bytes in all files under a directory.
#[cfg(unix)]
fn stored_in(directory: &Path) -> u64 {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let found = entry.unwrap();
            let metadata = found.metadata().unwrap();
            if metadata.is_dir() { stored_in(&found.path()) } else { metadata.len() }
        })
        .sum()
}

/// Two users, whose password is `secret`.
const USERS: &str = "\
ann:$2y$05$.Yg8lmtX9BlQAmqILwE14.ZTR2L53.e3dM18BBhbeIv4LLKvKgZPm
bob:$2y$05$.Yg8lmtX9BlQAmqILwE14.ZTR2L53.e3dM18BBhbeIv4LLKvKgZPm
";

#[test]
fn a_login_is_required_to_push_over_tls_and_everyone_may_pull() {
    let (home, root) = home();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    for (file, text) in
        [("users", USERS), ("cert", &made.cert.pem()), ("key", &made.signing_key.serialize_pem())]
    {
        fs::write(home.path().join(file), text).unwrap();
    }
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let (users, cert, key, directory) = (path("users"), path("cert"), path("key"), path("registry"));
    let access = ["--htpasswd", &users, "--writer", "ann", "--writer", "team=bob", "--anonymous-reads"];
    let tls = ["--tls-cert", &cert, "--tls-key", &key, "--writable", &directory];
    let serving = Serving::start(&[&access[..], &tls].concat(), 2);
    let address = serving.lines[0].split(['/', ' ']).nth(2).unwrap().to_owned();
    assert!(serving.lines[0].starts_with("https://"), "{:?}", serving.lines);
    assert_eq!(serving.lines[2], "ann, bob (in team) may push and delete; everyone may pull");

    let layout = path("lay");
    let push = |user: &str, repository: &str, password: &str| {
        let name = format!("{address}/{repository}:1.0");
        let login = ["--username", user, "--password-stdin", "--ca-file", &cert];
        ocip_with(&[&["push"][..], &login, &[&format!("{layout}:1.0"), &name]].concat(), password.as_bytes())
    };
    push("ann", "app", "secret").succeeded();
    push("ann", "team/app", "secret").succeeded();
    push("bob", "team/app", "secret").succeeded();
    push("bob", "other", "secret").failed(1, &["403 Forbidden", "bob may not push to `other`"]);
    push("ann", "fresh", "hunter2")
        .failed(1, &["401 Unauthorized", "the user name or the password is wrong"]);
    let anonymous = format!("{address}/new:1.0");
    let push = ["push", "--ca-file", &cert, &format!("{layout}:1.0"), &anonymous];
    ocip(&push).failed(1, &["401 Unauthorized", "this requires a login", "hint: "]);
    let resolved = on_both(&["resolve", "--ca-file", &cert, &format!("{address}/team/app:1.0")]).succeeded();
    assert!(resolved.text().contains(&root.digest.to_string()), "{}", resolved.text());
}

#[test]
fn a_push_that_does_not_fit_is_refused_and_sets_no_tag() {
    let (home, _) = home();
    for (option, value) in [("--quota", "2000"), ("--min-free", &u64::MAX.to_string())] {
        let serving = serve(&home.path().join(option), &[option, value], &[]);
        let name = format!("{}/app:1.0", serving.address());
        let layout = format!("{}:1.0", home.path().join("lay").display());
        ocip(&["push", "--retries", "0", &layout, &name])
            .failed(1, &["507 Insufficient Storage", "the registry has no space left"]);
        ocip(&["resolve", &name]).failed(1, &["404"]);
    }
}

#[test]
fn connections_beyond_the_limits_wait_or_are_refused() {
    let (home, _) = home();
    let status = |stream: &mut TcpStream| {
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&head).into_owned())
    };
    let limits = ["--max-connections", "2", "--max-connections-per-address", "1"];
    let serving = serve(&home.path().join("new"), &limits, &[]);
    let connect = || TcpStream::connect(serving.address()).unwrap();
    let mut first = connect();
    assert_eq!(status(&mut first).unwrap(), "HTTP/1.1 200");
    // A client may see only that the connection is closed.
    assert!(status(&mut connect()).map_or(true, |status| status == "HTTP/1.1 429"));
    drop(first);
    let mut tries = (0..200).map(|_| status(&mut connect()));
    assert!(tries.any(|tried| tried.is_ok_and(|status| status == "HTTP/1.1 200")));

    let limits = ["--max-connections", "1", "--max-connections-per-address", "2"];
    let serving = serve(&home.path().join("other"), &limits, &[]);
    let mut first = TcpStream::connect(serving.address()).unwrap();
    assert_eq!(status(&mut first).unwrap(), "HTTP/1.1 200");
    let mut second = TcpStream::connect(serving.address()).unwrap();
    second.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    status(&mut second).unwrap_err();
    drop(first);
    second.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut head = [0; 12];
    second.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");

    let directory = home.path().join("none");
    let base = ["serve", "--listen", "127.0.0.1:0", "--writable", directory.to_str().unwrap()];
    ocip(&[&base[..], &["--max-connections", "0"]].concat())
        .failed(2, &["--max-connections", "0 is not in 1.."]);
}

#[test]
fn other_machines_may_write_only_with_a_login_that_nobody_can_read() {
    let home = tempfile::tempdir().unwrap();
    let users = home.path().join("users");
    fs::write(&users, USERS).unwrap();
    let (users, directory) = (users.to_str().unwrap(), home.path().join("new"));
    let directory = directory.to_str().unwrap();
    let base = ["serve", "--listen", "0.0.0.0:0", "--writable", directory];
    for (more, expected) in [
        (&[][..], &["without a login", "hint: listen on 127.0.0.1, require logins with --htpasswd"][..]),
        (&["--htpasswd", users], &["could read the logins", "hint: add --tls-cert", "--plain-logins"]),
        (&["--htpasswd", users, "--anonymous-writes"], &["--anonymous-writes"]),
        (&["--plain-logins"], &["--htpasswd"]),
        (&["--tls-cert", users], &["--tls-key"]),
    ] {
        ocip(&[&base[..], more].concat()).failed(2, expected);
    }
    let local = ["serve", "--listen", "127.0.0.1:0", "--writable", directory, "--htpasswd"];
    for (more, expected) in [
        (&["absent"][..], &["could not read absent"][..]),
        (
            &[users, "--writer", "eve"],
            &["--writer eve", "has no such user", "hint: add it with `htpasswd -B"],
        ),
        (&[users, "--tls-cert", users, "--tls-key", users], &["there is no certificate"]),
    ] {
        ocip(&[&local[..], more].concat()).failed(1, expected);
    }
    assert!(!Path::new(directory).exists());
}

#[test]
fn what_was_acknowledged_survives_kills_at_any_moment() {
    const KILLS: u32 = 100;
    let (home, root) = home();
    let (layout, directory) = (home.path().join("lay"), home.path().join("registry"));
    let source = format!("{}:1.0", layout.display());
    let lines = home.path().join("lines");
    // Its stdout is a file, since a pipe must be read to its end.
    let start = || {
        let serve = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--writable",
            directory.to_str().unwrap(),
            "--min-free",
            "0",
        ];
        command(&serve).stdout(fs::File::create(&lines).unwrap()).stderr(Stdio::null()).spawn().unwrap()
    };
    let address = || loop {
        let text = fs::read_to_string(&lines).unwrap();
        if let Some((first, _)) = text.split_once('\n') {
            break first.split(['/', ' ']).nth(2).unwrap().to_owned();
        }
        thread::sleep(Duration::from_millis(1));
    };
    let push = |address: &str, n: u32| {
        ADAPTERS.map(|adapter| {
            let repository = format!("{adapter}-{n}");
            let name = format!("{address}/{repository}:1.0");
            let push = ["--adapter", adapter, "push", "--retries", "0", &source, &name];
            let push = command(&push).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            (repository, push)
        })
    };
    // The moments of the kills are spread over the time of a push and half as much again, on this machine.
    let mut serving = start();
    let began = Instant::now();
    for (_, mut whole) in push(&address(), KILLS) {
        assert!(whole.wait().unwrap().success());
    }
    let spread = began.elapsed() * 3 / 2;
    serving.kill().unwrap();
    serving.wait().unwrap();

    let mut acknowledged = Vec::new();
    for n in 0..KILLS {
        let mut serving = start();
        let pushes = push(&address(), n);
        thread::sleep(spread * n / KILLS);
        serving.kill().unwrap();
        serving.wait().unwrap();
        for (repository, mut push) in pushes {
            if push.wait().unwrap().success() {
                acknowledged.push(repository);
            }
        }
    }
    let pushes = 2 * usize::try_from(KILLS).unwrap();
    assert!((10..pushes - 10).contains(&acknowledged.len()), "{} of {pushes} pushes", acknowledged.len());

    let mut serving = start();
    let address = address();
    for repository in &acknowledged {
        let resolved = ocip(&["resolve", &format!("{address}/{repository}:1.0")]).succeeded();
        assert!(resolved.text().contains(&root.digest.to_string()), "{repository}");
    }
    // A push that was interrupted goes on, and then its layout is like those of the others.
    for (adapter, repository) in ADAPTERS
        .iter()
        .flat_map(|adapter| (0..KILLS).step_by(10).map(move |n| (adapter, format!("{adapter}-{n}"))))
    {
        ocip(&["--adapter", adapter, "push", &source, &format!("{address}/{repository}:1.0")]).succeeded();
        acknowledged.push(repository);
    }
    serving.kill().unwrap();
    serving.wait().unwrap();
    for repository in acknowledged {
        let checked = ocip(&["check", &format!("oci:{}", directory.join(&repository).display())]);
        assert_eq!((checked.status, checked.text()), (0, ""), "{repository}: {}", checked.stderr);
    }
}

#[cfg(unix)]
#[test]
fn a_web_page_cannot_write_without_any_host() {
    let home = tempfile::tempdir().unwrap();
    let status = |address: &str, headers: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        let line = "POST /v2/app/blobs/uploads/ HTTP/1.1";
        write!(stream, "{line}\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    let (rebound, foreign) =
        ("Host: page.example:5000\r\n", "Host: localhost:5000\r\nOrigin: http://page.example\r\n");
    for (arguments, expected) in [(&[][..], [421, 403]), (&["--any-host"], [202, 202])] {
        let serving = serve(home.path(), arguments, &[]);
        let seen = [rebound, foreign].map(|headers| status(serving.address(), headers));
        assert_eq!(seen, expected, "{arguments:?}");
        assert_eq!(status(serving.address(), "Host: localhost:5000\r\n"), 202);
        serving.interrupt("-INT");
    }
}

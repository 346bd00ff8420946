//! The demonstration and the help texts.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::support::{command, ocip, ran};

#[test]
fn the_demonstration_needs_nothing_else() {
    let ran = ocip(&["demo"]).succeeded();
    for expected in [
        "$ ocip resolve 127.0.0.1:",
        "$ ocip tree 127.0.0.1:",
        "same 11 nodes",
        "$ ocip copy 127.0.0.1:",
        "/copy:1.0 | grep digest\ndigest     sha256:",
        "/copy:1.0 note.txt --artifact-type text/plain\nmediaType  application/vnd.oci.image.manifest.v1+json\n",
        "/copy:1.0 | cut -c 8-19,72-\nf30f6f635af2      633 B  text/plain\n",
        "same copy and its referrer",
        "ocip demo --keep",
    ] {
        assert!(ran.text().contains(expected), "{expected:?} is not in: {}", ran.text());
    }
    assert_eq!(ran.stderr, "");
    assert!(ran.text().lines().count() <= 42, "{}", ran.text());
    for line in ran.text().lines() {
        assert!(line.chars().count() <= 82, "{line}");
    }
}

#[cfg(unix)]
#[test]
fn the_demonstration_leaves_no_files() {
    let home = tempfile::tempdir().unwrap();
    let ran = ran(&command(&["demo"]).current_dir(home.path()).env("TMPDIR", home.path()).output().unwrap());
    ran.succeeded();
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

/// What the demonstration shows is what the commands print.
#[cfg(unix)]
#[test]
fn the_commands_that_the_demonstration_shows_print_the_same() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("note.txt"), "hello\n").unwrap();
    let mut demo = command(&["demo", "--keep"]).stdout(Stdio::piped()).spawn().unwrap();
    // The demonstration ends if the reader of its stdout is gone.
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    let shown: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("The registries run")).collect();
    let shown = shown.join("\n").replace("\\\n", "");
    let ocip = concat!("PATH=$(dirname ", env!("CARGO_BIN_EXE_ocip"), "):$PATH; ");
    let printed: Vec<_> = shown
        .split("\n\n")
        // The tree is shown as on a terminal.
        .filter_map(|part| part.strip_prefix("$ ").filter(|part| !part.starts_with("ocip tree")))
        .map(|part| {
            let (line, expected) = part.split_once('\n').unwrap();
            let shell =
                Command::new("sh").args(["-c", &format!("{ocip}{line}")]).current_dir(home.path()).output();
            let printed = String::from_utf8(shell.unwrap().stdout).unwrap();
            (printed.trim_end().to_owned(), expected.to_owned())
        })
        .collect();
    demo.kill().unwrap();
    demo.wait().unwrap();
    drop(lines);
    assert_eq!(printed.len(), 4, "{shown}");
    for (printed, expected) in printed {
        assert_eq!(printed, expected);
    }
}

#[test]
fn the_commands_that_the_demonstration_suggests_work() {
    let mut demo = command(&["demo", "--keep"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    let tried: Vec<_> = lines
        .skip_while(|line| !line.starts_with("The registries run"))
        .skip(1)
        .take(3)
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().skip(1).map(str::to_owned).collect();
            ocip(&words.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .collect();
    demo.kill().unwrap();
    demo.wait().unwrap();
    assert_eq!(tried.iter().map(|ran| ran.status).collect::<Vec<_>>(), [0, 0, 0], "{tried:?}");
}

#[test]
fn each_shell_has_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = ocip(&["completions", shell]).succeeded();
        assert!(ran.text().contains("in-flight"), "{shell}");
    }
}

#[test]
fn man_pages_and_completion_scripts_are_written_for_packages() {
    let directory = tempfile::tempdir().unwrap();
    let share = directory.path().join("usr/share");
    // A second time in the place of the first.
    for _ in 0..2 {
        let ran = ocip(&["generate", share.to_str().unwrap()]).succeeded();
        assert_eq!(ran.text(), "");
        assert!(ran.stderr.contains(share.to_str().unwrap()), "{ran:?}");
    }
    for (file, text) in [
        ("man/man1/ocip.1", "ocip\\-copy(1)"),
        ("man/man1/ocip-copy.1", "\\-\\-platform"),
        ("bash-completion/completions/ocip", "--in-flight"),
        ("zsh/site-functions/_ocip", "#compdef ocip"),
        ("fish/vendor_completions.d/ocip.fish", "in-flight"),
    ] {
        let written = std::fs::read_to_string(share.join(file)).unwrap();
        assert!(written.contains(text), "{file}: {written}");
    }
    ocip(&["generate", "/dev/null/share"]).failed(1, &["could not write to /dev/null/share: "]);
}

#[test]
fn each_command_has_help_with_examples() {
    for command in [
        "resolve",
        "manifest",
        "tree",
        "blob",
        "pull",
        "check",
        "tags",
        "referrers",
        "delete",
        "config",
        "copy",
        "push",
        "tag",
        "attach",
        "artifact",
        "login",
        "logout",
        "serve",
        "gc",
        "demo",
        "completions",
        "generate",
    ] {
        let ran = ocip(&["help", command]).succeeded();
        assert!(ran.text().contains(&format!("\nExamples:\n  ocip {command}")), "{}", ran.text());
        for line in ran.text().lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        let contacts_registries = !matches!(command, "logout" | "serve" | "gc" | "completions" | "generate");
        for option in ["--retries", "--username", "--plain-http"] {
            assert_eq!(ran.text().contains(option), contacts_registries, "{}", ran.text());
        }
    }
    assert_eq!(ocip(&["--version"]).succeeded().text(), concat!("ocip ", env!("CARGO_PKG_VERSION"), "\n"));
}

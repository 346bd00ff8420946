//! The demonstration and the help texts.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::support::{command, ocip};

#[test]
fn the_demonstration_needs_nothing_else() {
    let ran = ocip(&["demo"]).succeeded();
    for expected in
        ["$ ocip resolve 127.0.0.1:", "$ ocip tree 127.0.0.1:", "same 11 nodes", "ocip demo --keep"]
    {
        assert!(ran.text().contains(expected), "{expected:?} is not in: {}", ran.text());
    }
    assert_eq!(ran.stderr, "");
    for line in ran.text().lines() {
        assert!(line.chars().count() <= 82, "{line}");
    }
}

#[test]
fn the_commands_that_the_demonstration_suggests_work() {
    let mut demo = command(&["demo", "--keep"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(demo.stdout.take().unwrap()).lines().map_while(Result::ok);
    let tried: Vec<_> = lines
        .skip_while(|line| !line.starts_with("The registry runs"))
        .skip(1)
        .take(2)
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().skip(1).map(str::to_owned).collect();
            ocip(&words.iter().map(String::as_str).collect::<Vec<_>>())
        })
        .collect();
    demo.kill().unwrap();
    demo.wait().unwrap();
    assert_eq!(tried.iter().map(|ran| ran.status).collect::<Vec<_>>(), [0, 0], "{tried:?}");
}

#[test]
fn each_shell_has_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = ocip(&["completions", shell]).succeeded();
        assert!(ran.text().contains("in-flight"), "{shell}");
    }
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
        "serve",
        "demo",
        "completions",
    ] {
        let ran = ocip(&["help", command]).succeeded();
        assert!(ran.text().contains(&format!("\nExamples:\n  ocip {command}")), "{}", ran.text());
        for line in ran.text().lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        let contacts_registries = !matches!(command, "serve" | "completions");
        for option in ["--retries", "--username", "--plain-http"] {
            assert_eq!(ran.text().contains(option), contacts_registries, "{}", ran.text());
        }
    }
    assert_eq!(ocip(&["--version"]).succeeded().text(), concat!("ocip ", env!("CARGO_PKG_VERSION"), "\n"));
}

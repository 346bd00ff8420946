//! Checks that README and other documents agree with the code.

use std::fs;
use std::path::Path;
use std::process::Command;

use oci_proto::server::{Memory, Server};
use oci_proto_tests::interop::{Served, example, ocip};

#[test]
fn the_demonstration_prints_what_the_readme_shows() {
    let readme = read("README.md");
    let shown = blocks(&readme, "text").next().expect("the README has the demonstration's output");
    let printed = output(ocip().arg("demo"));
    assert_eq!(without_chance(&printed), without_chance(shown), "README.md");
}

#[test]
fn the_readme_quotes_the_examples() {
    let sources = ["adapters/tokio/examples/tree_async.rs", "adapters/ureq/examples/tree_blocking.rs"];
    let sources = sources.into_iter().chain(["core/examples/embedding.rs"]).map(read);
    let readme = read("README.md");
    let shown: Vec<_> = blocks(&readme, "rust").collect();
    assert_eq!(shown.len(), 3, "{shown:?}");
    for (source, shown) in sources.zip(shown) {
        assert!(source.contains(shown), "README.md has\n{shown}\nThe example is\n{source}");
    }
}

#[test]
fn the_examples_print_the_tree() {
    let (memory, root) = Memory::sample();
    let mut content = Server::new();
    content.add(&"demo".parse().unwrap(), "latest".parse().ok().as_ref(), &root, &memory).unwrap();
    let registry = Served::start(content, memory);
    let name = format!("{}/demo", registry.address());
    let tree = output(example("tree_async").arg(&name));
    let lines: Vec<_> = tree.lines().collect();
    assert_eq!(lines.len(), 11, "{tree}");
    assert_eq!(lines[0], format!("0 index {}", root.digest));
    assert_eq!(output(example("tree_blocking").arg(&name)), tree);

    let parts = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let depths_and_digests: Vec<_> =
        lines.iter().map(|line| parts(line)).map(|parts| format!("{} {}", parts[0], parts[2])).collect();
    assert_eq!(output(&mut example("owned_buffers")).lines().count(), 2);
    let embedded = output(&mut example("embedding"));
    assert_eq!(embedded.lines().collect::<Vec<_>>(), depths_and_digests);

    let over_tcp = output(example("walk_over_tcp").arg(&name));
    assert_eq!(over_tcp.lines().count(), lines.len(), "{over_tcp}");
    for (line, other) in lines.iter().zip(over_tcp.lines()) {
        let [depth, kind, digest] = &parts(line)[..] else { panic!("{line}") };
        let indent = "  ".repeat(depth.parse().unwrap());
        assert!(other.starts_with(&format!("{indent}{kind} {digest} ")), "{line} and {other}");
    }
}

#[test]
fn files_named_in_documents_exist() {
    let top = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = read(document);
        let quoted = text.split('`').skip(1).step_by(2);
        let is_file = |name: &&str| {
            !name.contains([' ', '*', '\n'])
                && Path::new(name).extension().is_some_and(|extension| extension == "rs")
        };
        let files: Vec<_> = quoted.filter(is_file).collect();
        assert!(files.len() > 5, "{document} names {files:?}");
        for file in files {
            let exists = [top.join(file), top.join("core/src").join(file)].iter().any(|path| path.exists());
            assert!(exists, "{document} names {file}");
        }
    }
}

#[test]
fn the_readme_and_the_full_check_run_the_same_tests() {
    let tests = "cargo test --workspace";
    assert!(read("README.md").contains(&format!("\n    {tests}\n")), "README.md has another command");
    assert!(read(".ci/run").contains(&format!("\nstep {tests}\n")), ".ci/run has another command");
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The code blocks of a language, in order.
fn blocks<'a>(markdown: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let fence = format!("\n```{language}\n");
    let parts: Vec<_> = markdown.split(&fence).skip(1).collect();
    parts.into_iter().map(|part| part.split("\n```").next().unwrap_or(part))
}

/// The text without ports and times, which vary.
fn without_chance(text: &str) -> String {
    let mut kept = Vec::new();
    for line in text.trim_end().lines() {
        let line = match line.split_once("127.0.0.1:") {
            Some((before, after)) => {
                let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{before}127.0.0.1:{after}")
            }
            None => line.to_owned(),
        };
        let timed = line.strip_suffix(" ms").and_then(|line| line.rsplit_once(' '));
        kept.push(timed.map_or(line.clone(), |(before, _)| format!("{before} ms")));
    }
    kept.join("\n")
}

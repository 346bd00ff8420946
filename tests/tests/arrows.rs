//! Imports in every crate: from the defining module, without cycles, and in the core only downwards.

use std::path::Path;

use oci_proto_tests::arrows::{Layer, Report, Rules, check, packages, read};

/// The layers of the core, from the lowest up. None names items of a higher one, except in unit tests.
const CORE: &[Layer<'_>] = &[
    Layer { name: "types", holds: &["core/src/types"] },
    Layer { name: "header", holds: &["core/src/header"] },
    Layer { name: "manifest", holds: &["core/src/manifest"] },
    Layer { name: "build", holds: &["core/src/build"] },
    Layer { name: "layout", holds: &["core/src/layout"] },
    Layer { name: "config", holds: &["core/src/config", "core/src/limits", "core/src/registries"] },
    Layer { name: "error", holds: &["core/src/error"] },
    Layer { name: "walker", holds: &["core/src/walker"] },
    Layer { name: "wire", holds: &["core/src/wire"] },
    Layer { name: "auth", holds: &["core/src/auth"] },
    Layer { name: "op", holds: &["core/src/op"] },
    Layer { name: "session", holds: &["core/src/session"] },
    Layer { name: "record", holds: &["core/src/record"] },
    Layer { name: "server", holds: &["core/src/server"] },
];

/// Client and server of the core are independent of each other.
const APART: &[(&str, &str)] =
    &[("auth", "server"), ("op", "server"), ("session", "server"), ("record", "server")];

#[test]
#[expect(clippy::print_stdout, reason = "shows what was checked")]
fn imports_follow_the_rules() {
    let top = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut violations = Vec::new();
    for package in packages(top).unwrap() {
        let mut report = Report::default();
        for root in &package.roots {
            let tree = read(root, &|file| std::fs::read_to_string(top.join(file)).ok()).unwrap();
            let mut rules = Rules::default();
            if root == Path::new("core/src/lib.rs") {
                rules = Rules { layers: CORE, apart: APART };
            }
            report.add(check(&tree, &rules));
        }
        let (files, edges) = (report.files.len(), report.edges.len());
        println!("{}: {files} files, {edges} edges", package.folder.display());
        violations.extend(report.violations);
    }
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

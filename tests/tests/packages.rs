//! Each crate that is published stands alone: its metadata, its README and its licences.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Runs cargo at the top of the workspace.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_package_has_its_metadata_readme_and_licences() {
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages: Vec<_> =
        metadata["packages"].as_array().unwrap().iter().filter(|one| one["publish"].is_null()).collect();
    assert_eq!(packages.len(), 7, "all crates but the tests are published");
    for package in packages {
        let name = package["name"].as_str().unwrap();
        for field in ["description", "license", "readme", "rust_version"] {
            assert!(package[field].is_string(), "{name} has no {field}");
        }
        for field in ["keywords", "categories"] {
            assert!(!package[field].as_array().unwrap().is_empty(), "{name} has no {field}");
        }
        assert_eq!(package["metadata"]["docs"]["rs"]["all-features"], true, "{name}");
        let list = cargo(&["package", "--list", "--allow-dirty", "-p", name]);
        let files: Vec<_> = list.lines().collect();
        for file in ["LICENSE-APACHE", "LICENSE-MIT", "README.md"] {
            assert!(files.contains(&file), "the package of {name} lacks {file}");
        }
        assert!(!files.iter().any(|file| file.starts_with("tests/")), "{name}: {files:?}");
        let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap();
        for licence in ["LICENSE-APACHE", "LICENSE-MIT"] {
            let same = fs::read(folder.join(licence)).unwrap()
                == fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(licence)).unwrap();
            assert!(same, "{name} has another {licence}");
        }
        let is_library = package["targets"].as_array().unwrap().iter().any(|one| one["kind"][0] == "lib");
        let listed = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../api/{name}.txt"));
        assert_eq!(listed.exists(), is_library, "{}: add {name} to .ci/api", listed.display());
        // A link to a file outside the package leads nowhere once it is published.
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        for link in readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(
                files.contains(&link) || link.starts_with("https://"),
                "the README of {name} links to {link}"
            );
        }
    }
}

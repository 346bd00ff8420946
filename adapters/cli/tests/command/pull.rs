//! `ocip pull`.

use std::fs;
use std::path::Path;

use oci_proto::server::{Flavour, Memory};
use tempfile::TempDir;

use crate::support::{ADAPTERS, Ran, ocip, registry, sample};

fn pull(adapter: &str, arguments: &[&str], folder: &Path) -> Ran {
    let folder = folder.to_str().unwrap();
    ocip(&[&["pull", "--adapter", adapter], arguments, &[folder]].concat())
}

#[test]
fn a_pulled_layout_shows_the_same_tree_and_has_no_problem() {
    let address = sample();
    let tree = ocip(&["tree", "--json", "--blobs", &format!("{address}/demo")]).succeeded();
    let resolved = ocip(&["resolve", "--json", &format!("{address}/demo")]).succeeded();
    for adapter in ADAPTERS {
        let home = TempDir::new().unwrap();
        let folder = home.path().join("mirror");
        let ran = pull(adapter, &["--json", &format!("{address}/demo")], &folder).succeeded();
        assert_eq!(ran.text(), resolved.text());
        assert!(ran.stderr.contains("19 contents"), "{}", ran.stderr);
        let layout = format!("oci:{}:latest", folder.display());
        assert_eq!(ocip(&["tree", "--json", "--blobs", &layout]).succeeded().text(), tree.text());
        assert_eq!(ocip(&["check", &layout]).succeeded().text(), "");
    }
}

#[test]
fn what_other_pulls_left_is_told() {
    let address = sample();
    let home = TempDir::new().unwrap();
    let name = format!("{address}/demo");
    assert!(!pull("tokio", &[&name], home.path()).succeeded().stderr.contains("interrupted"));
    let folder = home.path().join(".oci-proto-partial");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(format!("sha256-{}", "0".repeat(64))), "half of a blob").unwrap();
    // What a pull leaves that ends while it replaces the index.
    fs::write(folder.join("index.json"), "{").unwrap();
    let said = format!("1 partial blob of interrupted pulls, 14 B, in {}: ", folder.display());
    for ran in [
        pull("tokio", &[&name], home.path()),
        pull("ureq", &[&name], home.path()),
        ocip(&["check", home.path().to_str().unwrap()]),
    ] {
        assert!(ran.succeeded().stderr.contains(&said), "no `{said}`");
    }
}

#[test]
fn a_platform_takes_only_its_image() {
    let address = sample();
    for adapter in ADAPTERS {
        let home = TempDir::new().unwrap();
        let name = format!("{address}/demo");
        let ran = pull(adapter, &["-q", "--platform", "linux/arm64", &name], home.path()).succeeded();
        assert!(ran.text().starts_with("mediaType  application/vnd.oci.image.manifest.v1+json\n"), "{ran:?}");
        assert_eq!(ran.stderr, "");
        assert_eq!(fs::read_dir(home.path().join("blobs/sha256")).unwrap().count(), 4);
    }
}

#[test]
fn a_folder_that_is_something_else_is_left_alone() {
    let address = sample();
    for adapter in ADAPTERS {
        let home = TempDir::new().unwrap();
        fs::write(home.path().join("thesis.txt"), "years of work").unwrap();
        let ran = pull(adapter, &[&format!("{address}/demo")], home.path());
        ran.failed(1, &["not an image layout", "thesis.txt"]);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_file_in_the_place_of_the_folder_is_an_error() {
    let address = sample();
    for adapter in ADAPTERS {
        let home = TempDir::new().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        pull(adapter, &[&format!("{address}/demo")], &file).failed(1, &["file"]);
    }
}

#[test]
fn what_the_registry_lacks_fails_the_pull_and_leaves_no_root() {
    let mut memory = Memory::new();
    let image = memory.add_image(Flavour::OCI, None, &[b"a layer"]);
    let index = memory.add_index(Flavour::OCI, [&image]);
    let address = registry(&memory, &index);
    for adapter in ADAPTERS {
        let home = TempDir::new().unwrap();
        let ran = pull(adapter, &[&format!("{address}/demo:nonesuch")], home.path());
        ran.failed(1, &["404 Not Found", "hint: "]);
        ocip(&["resolve", &format!("oci:{}", home.path().display())]).failed(1, &["error: "]);
    }
}

#[test]
fn a_layout_is_no_registry() {
    let home = TempDir::new().unwrap();
    pull("tokio", &["oci:somewhere:1.0"], home.path()).failed(2, &["from a registry", "hint: "]);
}

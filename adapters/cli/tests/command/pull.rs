//! `ocip pull`.

use std::fs;
use std::path::Path;

use oci_proto::layout::blob_path;
use oci_proto::server::{Flavour, Memory};
use oci_proto::{Algorithm, Digest};
use tempfile::TempDir;

use crate::support::{ADAPTERS, Ran, ocip, registry, sample};

fn pull(adapter: &str, arguments: &[&str], directory: &Path) -> Ran {
    let directory = directory.to_str().unwrap();
    ocip(&[&["pull", "--adapter", adapter], arguments, &[directory]].concat())
}

#[test]
fn a_pulled_layout_has_the_same_tree_and_no_problems() {
    let address = sample();
    let tree = ocip(&["tree", "--json", "--blobs", &format!("{address}/demo")]).succeeded();
    let resolved = ocip(&["resolve", "--json", &format!("{address}/demo")]).succeeded();
    for adapter in ADAPTERS {
        let home = TempDir::new().unwrap();
        let directory = home.path().join("mirror");
        let ran = pull(adapter, &["--json", &format!("{address}/demo")], &directory).succeeded();
        assert_eq!(ran.text(), resolved.text());
        assert!(ran.stderr.contains("19 items"), "{}", ran.stderr);
        let layout = format!("oci:{}:latest", directory.display());
        assert_eq!(ocip(&["tree", "--json", "--blobs", &layout]).succeeded().text(), tree.text());
        assert_eq!(ocip(&["check", &layout]).succeeded().text(), "");
    }
}

#[test]
fn partial_blobs_of_other_pulls_are_reported() {
    let address = sample();
    let home = TempDir::new().unwrap();
    let name = format!("{address}/demo");
    assert!(!pull("tokio", &[&name], home.path()).succeeded().stderr.contains("interrupted"));
    let directory = home.path().join(".oci-proto-partial");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join(format!("sha256-{}", "0".repeat(64))), "half of a blob").unwrap();
    // Left by a pull that was killed while it replaced the index.
    fs::write(directory.join("index.json"), "{").unwrap();
    let expected = format!("1 partial blob of interrupted pulls, 14 B, in {}; ", directory.display());
    for ran in [
        pull("tokio", &[&name], home.path()),
        pull("ureq", &[&name], home.path()),
        ocip(&["check", home.path().to_str().unwrap()]),
    ] {
        assert!(ran.succeeded().stderr.contains(&expected), "no `{expected}`");
    }
}

#[cfg(unix)]
#[test]
fn the_hint_names_the_path_that_is_in_the_way_of_a_pull() {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    let (memory, root) = Memory::sample();
    let name = format!("{}/demo", registry(&memory, &root));
    let work = ".oci-proto-partial";
    let lock = format!("{work}/lock");
    let document = blob_path(&root.digest);
    let in_the_way: [fn(&Path); 4] = [
        |path| fs::create_dir(path).unwrap(),
        |path| symlink("elsewhere", path).unwrap(),
        |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        |path| fs::write(path, "").unwrap(),
    ];
    for adapter in ADAPTERS {
        for (path, kinds) in
            [(&*lock, &in_the_way[..3]), (work, &in_the_way[1..]), (&document, &in_the_way[..1])]
        {
            for place in kinds {
                let home = TempDir::new().unwrap();
                pull(adapter, &[&name], home.path()).succeeded();
                let path = home.path().join(path);
                // A blob is replaced.
                let _ = fs::remove_file(&path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                place(&path);
                let shown = path.display();
                let hint = format!("hint: remove {shown}\n");
                let error = format!("error: {shown}: expected a ");
                pull(adapter, &[&name], home.path()).failed(1, &[&error, &hint]);
                if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) }.unwrap();
                pull(adapter, &[&name], home.path()).succeeded();
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn the_hint_names_the_file_of_a_layout_that_is_a_directory() {
    let name = format!("{}/demo", sample());
    for file in ["oci-layout", "index.json"] {
        let home = TempDir::new().unwrap();
        pull("tokio", &[&name], home.path()).succeeded();
        let path = home.path().join(file);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let hint = format!("hint: replace {} with a regular file\n", path.display());
        pull("tokio", &[&name], home.path()).failed(1, &["expected a file, found a directory", &hint]);
    }
}

#[test]
fn a_platform_selects_one_image() {
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
fn a_directory_with_other_files_is_not_modified() {
    let address = sample();
    for adapter in ADAPTERS {
        let home = TempDir::new().unwrap();
        fs::write(home.path().join("thesis.txt"), "years of work").unwrap();
        let ran = pull(adapter, &[&format!("{address}/demo")], home.path());
        ran.failed(1, &["neither an image layout nor empty", "thesis.txt"]);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_file_instead_of_the_directory_is_an_error() {
    let address = sample();
    for adapter in ADAPTERS {
        let home = TempDir::new().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        pull(adapter, &[&format!("{address}/demo")], &file).failed(1, &["file"]);
    }
}

#[test]
fn a_missing_tag_fails_the_pull_and_creates_nothing() {
    let mut memory = Memory::new();
    let image = memory.add_image(Flavour::OCI, None, &[b"a layer"]);
    let index = memory.add_index(Flavour::OCI, [&image]);
    let address = registry(&memory, &index);
    for adapter in ADAPTERS {
        let home = TempDir::new().unwrap();
        let name = format!("{address}/demo:nonesuch");
        pull(adapter, &[&name], &home.path().join("new/layout")).failed(1, &["404 Not Found", "hint: "]);
        pull(adapter, &[&name], home.path()).failed(1, &["404 Not Found", "hint: "]);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "nothing is created");
    }
}

/// `writer::tests` in the layout crate tests that files are synced.
#[test]
fn a_pull_without_sync_writes_the_same_layout() {
    let address = sample();
    for adapter in ADAPTERS {
        let home = TempDir::new().unwrap();
        pull(adapter, &["--no-sync", &format!("{address}/demo")], home.path()).succeeded();
        assert_eq!(ocip(&["check", home.path().to_str().unwrap()]).succeeded().text(), "");
    }
}

/// Content with the right size is taken for granted, unless it is a document.
#[test]
fn existing_documents_are_verified_and_other_content_on_request() {
    let mut memory = Memory::new();
    let image = memory.add_image(Flavour::OCI, None, &[b"a layer"]);
    let address = registry(&memory, &image);
    let name = format!("{address}/demo");
    let layer = Digest::of(Algorithm::Sha256, b"a layer");
    for adapter in ADAPTERS {
        let home = TempDir::new().unwrap();
        let file = |digest| home.path().join(blob_path(digest));
        pull(adapter, &[&name], home.path()).succeeded();
        fs::write(file(&layer), "a lAyer").unwrap();
        let document = fs::read_to_string(file(&image.digest)).unwrap();
        fs::write(file(&image.digest), document.replace("layers", "lAyers")).unwrap();
        pull(adapter, &[&name], home.path()).succeeded();
        assert_eq!(fs::read_to_string(file(&image.digest)).unwrap(), document);
        assert_eq!(fs::read(file(&layer)).unwrap(), b"a lAyer");
        pull(adapter, &["--verify", &name], home.path()).succeeded();
        assert_eq!(fs::read(file(&layer)).unwrap(), b"a layer");
    }
}

#[test]
fn a_blob_that_starts_over_is_counted_once() {
    let mut memory = Memory::new();
    let layer = vec![b'x'; 1_000_000];
    let root = memory.add_image(Flavour::OCI, None, &[&layer]);
    let address = registry(&memory, &root);
    let partial = format!("sha256-{}", Digest::of(Algorithm::Sha256, &layer).encoded());
    for adapter in ADAPTERS {
        let home = TempDir::new().unwrap();
        let directory = home.path().join(".oci-proto-partial");
        fs::create_dir(&directory).unwrap();
        // The digest shows that it is wrong only after the rest was fetched.
        fs::write(directory.join(&partial), vec![b'y'; 600_000]).unwrap();
        let ran = pull(adapter, &[&format!("{address}/demo")], home.path()).succeeded();
        assert!(ran.stderr.contains("3 items; 1.00 MB in blobs, 1.40 MB fetched"), "{}", ran.stderr);
    }
}

#[test]
fn pulling_from_a_layout_is_a_usage_error() {
    let home = TempDir::new().unwrap();
    pull("tokio", &["oci:somewhere:1.0"], home.path()).failed(2, &["from a registry", "hint: "]);
}

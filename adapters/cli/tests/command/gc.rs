//! `ocip gc`.

use std::fs;
use std::path::Path;

use oci_proto::layout::blob_path;
use oci_proto::{Algorithm, Descriptor, Digest, MediaType};
use oci_proto_layout::{LayoutWriter, RegistryDirectory, RegistryOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{closed_pipe, command, ocip, ran};

fn put(writer: &mut LayoutWriter, media_type: MediaType, content: &str) -> Descriptor {
    let digest = Digest::of(Algorithm::Sha256, content.as_bytes());
    let descriptor = Descriptor::new(media_type, digest, content.len() as u64);
    writer.put(&descriptor, content.as_bytes()).unwrap();
    descriptor
}

/// A registry with a tagged image, one without a tag, and a blob that nothing needs, in `team/app`: its directory, the
/// image without a tag, and the blob.
fn registry() -> (TempDir, Digest, Digest) {
    let home = tempfile::tempdir().unwrap();
    drop(RegistryDirectory::open(home.path(), RegistryOptions::default()).unwrap());
    fs::create_dir(home.path().join("team")).unwrap();
    let mut writer = LayoutWriter::open(home.path().join("team/app")).unwrap();
    let config = put(&mut writer, MediaType::OCTET_STREAM, "{}");
    let config =
        json!({ "mediaType": "application/vnd.example", "digest": config.digest.to_string(), "size": 2 });
    let [tagged, untagged] = ["1", "2"].map(|text| {
        let image = json!({
            "schemaVersion": 2, "mediaType": MediaType::OCI_MANIFEST.as_str(), "config": config, "layers": [],
            "annotations": { "text": text },
        });
        put(&mut writer, MediaType::OCI_MANIFEST, &image.to_string())
    });
    writer.set_root(&tagged, Some(&"latest".parse().unwrap())).unwrap();
    writer.set_root(&untagged, None).unwrap();
    let unneeded = put(&mut writer, MediaType::OCTET_STREAM, "unneeded");
    (home, untagged.digest, unneeded.digest)
}

fn has(root: &Path, digest: &Digest) -> bool {
    root.join("team/app").join(blob_path(digest)).exists()
}

#[test]
fn content_that_nothing_needs_is_removed_and_printed() {
    let (home, untagged, unneeded) = registry();
    let root = home.path().to_str().unwrap();
    let line = format!("team/app {unneeded} 8\n");

    let recent = ocip(&["gc", "--dry-run", root]).succeeded();
    let kept = "kept 1 item, 8 B, which nothing needs, but which --older-than keeps";
    assert_eq!(
        (recent.text(), &*recent.stderr),
        ("", &*format!("would remove 0 items, 0 B; 1 repository; {kept}\n"))
    );
    ocip(&["gc", "--older-than", "1", root]).failed(2, &["expected a number and a unit"]);

    let dry = ocip(&["gc", "--older-than", "0", "--dry-run", root]).succeeded();
    assert_eq!(dry.text(), line);
    assert_eq!(dry.stderr, "would remove 1 item, 8 B; 1 repository\n");
    assert!(has(home.path(), &unneeded));

    let ran = ocip(&["gc", "--older-than", "0", root]).succeeded();
    assert_eq!((ran.text(), ran.stderr.as_str()), (&*line, "removed 1 item, 8 B; 1 repository\n"));
    assert!(!has(home.path(), &unneeded) && has(home.path(), &untagged));
    let ran = ocip(&["gc", "--older-than", "0", "-q", root]).succeeded();
    assert_eq!((ran.text(), ran.stderr.as_str()), ("", ""));

    let ran = ocip(&["gc", "--older-than", "0s", "--untagged", "--json", root]).succeeded();
    let removed: Value = serde_json::from_str(ran.text()).unwrap();
    assert_eq!(
        (&removed["repository"], &removed["digest"]),
        (&json!("team/app"), &json!(untagged.to_string()))
    );
    assert!(removed["size"].as_u64().unwrap() > 0 && !has(home.path(), &untagged));
    ocip(&["check", &format!("oci:{root}/team/app")]).succeeded();
    let (_, contents) = RegistryDirectory::open(root, RegistryOptions::default()).unwrap();
    assert!(contents.warnings().is_empty());
}

#[test]
fn a_damaged_repository_is_skipped_with_a_warning() {
    let (home, untagged, unneeded) = registry();
    fs::write(home.path().join("team/app").join(blob_path(&untagged)), "damaged").unwrap();
    let ran = ocip(&["gc", "--older-than", "0", home.path().to_str().unwrap()]).succeeded();
    assert_eq!(ran.text(), "");
    for words in ["warning: skipped: ", &untagged.encoded(), "removed 0 items, 0 B; 0 repositories\n"] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    assert!(has(home.path(), &unneeded));
}

#[test]
fn a_directory_that_is_in_use_or_not_of_a_registry_is_an_error() {
    let (home, _, unneeded) = registry();
    let root = home.path().to_str().unwrap();
    let served = RegistryDirectory::open(root, RegistryOptions::default()).unwrap();
    ocip(&["gc", root]).failed(1, &["another process serves this directory; stop it first"]);
    drop(served);
    ocip(&["gc", &format!("{root}/team/app")]).failed(1, &["is an image layout", "use the directory above"]);
    ocip(&["gc", &format!("{root}/absent")]).failed(1, &["not found", "hint: check the path"]);
    assert!(!home.path().join("absent").exists());
    let file = format!("{root}/team/app/index.json");
    ocip(&["gc", &file]).failed(1, &["expected the directory of a registry, found a file", "hint: "]);
    ocip(&["gc"]).failed(2, &["DIR"]);
    assert!(has(home.path(), &unneeded));
}

#[test]
fn a_reader_that_closes_stdout_does_not_stop_the_collection() {
    let (home, untagged, unneeded) = registry();
    let root = home.path().to_str().unwrap();
    let output =
        command(&["gc", "--older-than", "0", "--untagged", root]).stdout(closed_pipe()).output().unwrap();
    ran(&output).failed(1, &[]);
    assert!(!has(home.path(), &untagged) && !has(home.path(), &unneeded));
}

#[cfg(unix)]
#[test]
fn more_repositories_than_files_that_can_be_open_are_visited() {
    let home = tempfile::tempdir().unwrap();
    for n in 0..300 {
        drop(LayoutWriter::open(home.path().join(format!("r{n}/app"))).unwrap());
    }
    let ocip = env!("CARGO_BIN_EXE_ocip");
    let directory = home.path().display();
    let limited = format!("ulimit -n 100; exec {ocip} gc {directory}");
    let output = std::process::Command::new("sh").args(["-c", &limited]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let limited = format!(
        "ulimit -n 100; exec timeout 20 {ocip} serve --writable --listen 127.0.0.1:0 {directory} | head -1"
    );
    let output = std::process::Command::new("sh").args(["-c", &limited]).output().unwrap();
    assert!(output.stdout.starts_with(b"http://"), "{}", String::from_utf8_lossy(&output.stderr));
}

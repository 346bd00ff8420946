//! Checks of damaged layouts.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use oci_proto::layout::Root;
use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{Descriptor, Digest, Finding, MediaType, Problem};
use oci_proto_layout::oci_proto;
use oci_proto_layout::{CheckProgress, Layout, LayoutErrorKind, check};
use serde_json::{Value, json};

use crate::support::{Stored, entries, named, store};

fn found(directory: &Path, root: Option<&Root>) -> Vec<Finding> {
    check(directory, root).unwrap().collect()
}

/// The findings of a check of all roots, each as problem and digest.
fn problems(stored: &Stored) -> Vec<(Problem, Option<Digest>)> {
    found(&stored.path(), None).into_iter().map(|finding| (finding.problem, finding.digest)).collect()
}

/// The layer that the images of the sample share.
fn shared_layer(stored: &Stored) -> Descriptor {
    entries(&stored.memory, &stored.entry(3))[1].clone()
}

#[test]
fn an_intact_layout_has_no_findings() {
    let stored = Stored::sample();
    assert_eq!(problems(&stored), []);
    assert_eq!(found(&stored.path(), Some(&named("latest"))), []);
}

#[test]
fn progress_is_reported_up_to_the_size_of_all_blobs() {
    let stored = Stored::sample();
    let reported: Arc<Mutex<Vec<CheckProgress>>> = Arc::default();
    let sink = reported.clone();
    let mut check =
        check(stored.path(), None).unwrap().on_progress(move |progress| sink.lock().unwrap().push(progress));
    assert_eq!(check.by_ref().count(), 0);
    let reported = reported.lock().unwrap();
    let max = reported.iter().map(|progress| progress.read).max();
    assert!(max.is_some() && reported.iter().all(|progress| Some(progress.of) == max), "{reported:?}");
    let documents = check.bytes() - max.unwrap_or_default();
    assert!(documents > 0, "documents are read too, but not reported");
}

#[test]
fn a_panic_in_the_progress_hook_is_propagated() {
    let stored = Stored::sample();
    // It panics once: the other threads continue, and all blobs but one are verified.
    let panicked = AtomicBool::new(false);
    let panics = move |_: CheckProgress| assert!(panicked.swap(true, Relaxed), "a panic of the hook");
    let check = check(stored.path(), None).unwrap().on_progress(panics);
    assert!(catch_unwind(AssertUnwindSafe(|| check.count())).is_err());
}

#[test]
fn missing_short_long_and_changed_content_is_found() {
    let stored = Stored::sample();
    let list = stored.entry(1);
    let [sbom_config, sbom] = &entries(&stored.memory, &stored.entry(2))[..] else { panic!("one file") };
    let note = stored.entry(4);
    let shared = shared_layer(&stored);
    fs::remove_file(stored.file(&list.digest)).unwrap();
    fs::write(stored.file(&sbom.digest), "short").unwrap();
    let long = [&stored.memory.bytes(&note.digest).unwrap()[..], b"more"].concat();
    fs::write(stored.file(&note.digest), long).unwrap();
    fs::write(stored.file(&shared.digest), "x".repeat(usize::try_from(shared.size).unwrap())).unwrap();
    fs::write(stored.file(&sbom_config.digest), "").unwrap();
    assert_eq!(
        problems(&stored),
        [
            // A document, so it comes before the blobs.
            (Problem::Missing, Some(list.digest)),
            (Problem::WrongContent, Some(shared.digest)),
            (Problem::WrongSize, Some(sbom_config.digest.clone())),
            (Problem::WrongSize, Some(sbom.digest.clone())),
            (Problem::WrongSize, Some(note.digest)),
        ]
    );
}

#[cfg(unix)]
#[test]
fn a_link_is_found_and_not_followed() {
    let stored = Stored::sample();
    let shared = shared_layer(&stored);
    // The target has the right content: the check would pass if it followed the link.
    fs::rename(stored.file(&shared.digest), stored.beside("elsewhere")).unwrap();
    std::os::unix::fs::symlink(stored.beside("elsewhere"), stored.file(&shared.digest)).unwrap();
    assert_eq!(problems(&stored), [(Problem::NotAFile, Some(shared.digest.clone()))]);
    let layout = Layout::open(stored.path()).unwrap();
    let error = layout.blob(&shared.digest, None).unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::NotAFile("a symbolic link")), "{error}");
    assert!(!layout.has(&shared));
    assert_eq!(layout.size(&shared.digest), None);
}

#[cfg(unix)]
#[test]
fn a_directory_that_is_a_link_is_found_and_not_followed() {
    let stored = Stored::sample();
    for directory in ["blobs/sha256", "blobs"] {
        fs::rename(stored.path().join(directory), stored.beside("elsewhere")).unwrap();
        std::os::unix::fs::symlink(stored.beside("elsewhere"), stored.path().join(directory)).unwrap();
        let mut findings = found(&stored.path(), None);
        assert!(findings.iter().all(|finding| finding.problem == Problem::NotAFile), "{findings:?}");
        assert_eq!(
            findings.pop().unwrap().digest,
            Some(stored.root.digest.clone()),
            "nothing is read through it"
        );
        let layout = Layout::open(stored.path()).unwrap();
        assert!(layout.bytes(&stored.root.digest).is_none(), "{directory}");
        fs::remove_file(stored.path().join(directory)).unwrap();
        fs::rename(stored.beside("elsewhere"), stored.path().join(directory)).unwrap();
    }
    assert_eq!(problems(&stored), []);
}

#[cfg(unix)]
#[test]
fn the_layouts_own_files_are_not_followed() {
    let stored = Stored::sample();
    for name in ["oci-layout", "index.json"] {
        fs::rename(stored.path().join(name), stored.beside("elsewhere")).unwrap();
        std::os::unix::fs::symlink(stored.beside("elsewhere"), stored.path().join(name)).unwrap();
        let findings = found(&stored.path(), None);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].problem, &findings[0].digest), (Problem::NotAFile, &None));
        assert!(
            findings[0].detail.starts_with(&format!("{name}: expected a file, found a symbolic link")),
            "{findings:?}"
        );
        assert!(Layout::open(stored.path()).is_err());
        fs::remove_file(stored.path().join(name)).unwrap();
        fs::rename(stored.beside("elsewhere"), stored.path().join(name)).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn directories_pipes_and_devices_are_found_and_not_opened() {
    let stored = Stored::sample();
    let (layer, document) = (shared_layer(&stored), stored.entry(1));
    fs::remove_file(stored.file(&layer.digest)).unwrap();
    fs::create_dir(stored.file(&layer.digest)).unwrap();
    fs::remove_file(stored.file(&document.digest)).unwrap();
    // Opening a pipe without a writer blocks.
    let made = std::process::Command::new("mkfifo").arg(stored.file(&document.digest)).status().unwrap();
    assert!(made.success());
    assert_eq!(
        problems(&stored),
        [(Problem::NotAFile, Some(document.digest)), (Problem::NotAFile, Some(layer.digest))]
    );
}

/// Permissions do not restrict root, which reads the file.
#[cfg(unix)]
#[test]
fn an_unreadable_file_is_found() {
    use std::os::unix::fs::PermissionsExt as _;
    let stored = Stored::sample();
    let shared = shared_layer(&stored);
    fs::set_permissions(stored.file(&shared.digest), fs::Permissions::from_mode(0o000)).unwrap();
    let expected = match fs::File::open(stored.file(&shared.digest)) {
        Ok(_) => vec![],
        Err(_) => vec![(Problem::Unreadable, Some(shared.digest))],
    };
    assert_eq!(problems(&stored), expected);
}

/// A layout of the sample, whose root is replaced by this document, with this media type.
fn with_root(document: &Value, media_type: MediaType) -> Stored {
    let mut stored = Stored::sample();
    stored.root = stored.memory.add_document(media_type, document.to_string());
    let root = &stored.root;
    fs::write(stored.file(&root.digest), stored.memory.bytes(&root.digest).unwrap()).unwrap();
    let entry = json!({
        "mediaType": root.media_type.as_str(), "digest": root.digest.to_string(), "size": root.size,
    });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    fs::write(stored.path().join("index.json"), index.to_string()).unwrap();
    stored
}

#[test]
fn a_malformed_manifest_with_the_right_digest_is_found() {
    let stored = with_root(
        &json!({ "schemaVersion": 2, "manifests": [], "layers": [], "config": {} }),
        MediaType::OCI_INDEX,
    );
    assert_eq!(problems(&stored), [(Problem::Malformed, Some(stored.root.digest.clone()))]);
}

#[test]
fn a_digest_that_leads_out_of_the_directory_makes_the_document_malformed() {
    for digest in ["sha256:../../../etc/passwd", "../../../etc:passwd", "a:..", "..:a"] {
        let entry = json!({ "mediaType": MediaType::OCI_MANIFEST.as_str(), "digest": digest, "size": 1 });
        let stored = with_root(&json!({ "schemaVersion": 2, "manifests": [entry] }), MediaType::OCI_INDEX);
        let findings = found(&stored.path(), None);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].problem, Problem::Malformed);
        assert!(findings[0].detail.contains("is not a digest"), "{findings:?}");
    }
}

#[test]
fn an_unknown_algorithm_is_found_without_opening_the_file() {
    let entry = json!({ "mediaType": MediaType::OCI_MANIFEST.as_str(), "digest": "md5:d41d8", "size": 1 });
    let stored = with_root(&json!({ "schemaVersion": 2, "manifests": [entry] }), MediaType::OCI_INDEX);
    fs::create_dir(stored.path().join("blobs/md5")).unwrap();
    fs::write(stored.path().join("blobs/md5/d41d8"), "x").unwrap();
    assert_eq!(problems(&stored), [(Problem::Unverifiable, "md5:d41d8".parse().ok())]);
    let layout = Layout::open(stored.path()).unwrap();
    let error = layout.blob(&"md5:d41d8".parse().unwrap(), None).unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::Unverifiable), "{error}");
}

#[test]
fn sizes_that_disagree_are_a_contradiction() {
    let shared = shared_layer(&Stored::sample());
    let object =
        |size: u64| json!({ "mediaType": "text/plain", "digest": shared.digest.to_string(), "size": size });
    let image = json!({
        "schemaVersion": 2, "config": object(shared.size), "layers": [object(shared.size + 1), object(shared.size)],
    });
    let stored = with_root(&image, MediaType::OCI_MANIFEST);
    assert_eq!(problems(&stored), [(Problem::Contradiction, Some(shared.digest))]);
}

#[test]
fn the_layouts_own_documents_are_checked() {
    let stored = Stored::sample();
    fs::write(stored.path().join("oci-layout"), "{}").unwrap();
    fs::write(stored.path().join("index.json"), "{").unwrap();
    fs::remove_dir_all(stored.path().join("blobs")).unwrap();
    let findings = found(&stored.path(), None);
    let shown: Vec<_> = findings.iter().map(|f| (f.problem, f.detail.split(':').next().unwrap())).collect();
    assert_eq!(
        shown,
        [(Problem::Malformed, "oci-layout"), (Problem::Missing, "blobs"), (Problem::Malformed, "index.json")]
    );
    assert!(findings.iter().all(|finding| finding.digest.is_none()));

    fs::remove_file(stored.path().join("index.json")).unwrap();
    assert_eq!(found(&stored.path(), None)[2].problem, Problem::Missing);
    fs::remove_file(stored.path().join("oci-layout")).unwrap();
    assert!(
        matches!(check(stored.path(), None).unwrap_err().kind(), LayoutErrorKind::Missing),
        "it is not a layout"
    );
}

#[test]
fn a_check_of_one_root_ignores_the_others() {
    let stored = Stored::sample();
    let mut memory = Memory::new();
    let other = memory.add_image(Flavour::OCI, None, &[b"x"]);
    store(&stored.path(), &memory, &other, Some(&"v2".parse().unwrap()));
    fs::remove_file(stored.file(&stored.entry(1).digest)).unwrap();
    let count = |root: Option<Root>| found(&stored.path(), root.as_ref()).len();
    assert_eq!(count(Some(named("v2"))), 0);
    assert_eq!(count(Some(named("latest"))), 1);
    assert_eq!(count(Some(Root::Digest(stored.entry(0).digest))), 0, "a digest names any content");
    assert_eq!(count(None), 1);
    assert!(matches!(check(stored.path(), Some(&named("v3"))).unwrap_err().kind(), LayoutErrorKind::Root(_)));
}

//! Interrupted writers, and how the next writer resumes.
//!
//! A killed writer neither releases its lock nor removes its temporary files. Most tests copy the directory
//! of a running writer instead. The lock, which the system releases, is tested with a killed process.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use oci_proto::server::{Content as _, Memory};
use oci_proto::{Algorithm, Descriptor, Digest, Hasher, MediaType};
use oci_proto_layout::oci_proto;
use oci_proto_layout::{Durability, Layout, LayoutWriter, check};

use crate::support::{Stored, everything, files, name};

fn content() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn blob(content: &[u8]) -> Descriptor {
    let digest = Digest::of(Algorithm::Sha256, content);
    Descriptor::new(MediaType::OCTET_STREAM, digest, content.len() as u64)
}

#[test]
fn a_partial_blob_is_resumed() {
    let home = tempfile::tempdir().unwrap();
    let (content, descriptor) = (content(), blob(&content()));
    let writer = LayoutWriter::open(home.path()).unwrap();
    let mut partial = writer.begin(&descriptor).unwrap();
    partial.append(0, &content[..300_001]).unwrap();
    drop((partial, writer));

    let writer = LayoutWriter::open(home.path()).unwrap();
    let mut partial = writer.begin(&descriptor).unwrap();
    assert_eq!(partial.offset(), 300_001);
    partial.append(300_001, &content[300_001..]).unwrap();
    partial.finish().unwrap();
    writer.layout().verify(&descriptor).unwrap();
    drop(writer);
    assert!(!home.path().join(".oci-proto-partial").exists(), "no temporary file is left");
}

#[test]
fn take_hasher_includes_the_resumed_bytes() {
    let home = tempfile::tempdir().unwrap();
    let (content, descriptor) = (content(), blob(&content()));
    let writer = LayoutWriter::open(home.path()).unwrap();
    let mut partial = writer.begin(&descriptor).unwrap();
    partial.append(0, &content[..1000]).unwrap();
    drop(partial);

    let mut partial = writer.begin(&descriptor).unwrap();
    let mut hasher: Hasher = partial.take_hasher().unwrap();
    assert!(partial.take_hasher().is_none());
    hasher.update(&content[1000..]);
    assert_eq!(hasher.finish(), descriptor.digest);
    partial.append(1000, &content[1000..]).unwrap();
    partial.finish().unwrap();
    writer.layout().verify(&descriptor).unwrap();
}

#[test]
fn a_damaged_partial_blob_is_restarted() {
    let home = tempfile::tempdir().unwrap();
    let (content, descriptor) = (content(), blob(&content()));
    let path = home.path().join(".oci-proto-partial").join(format!("sha256-{}", descriptor.digest.encoded()));
    let writer = LayoutWriter::open(home.path()).unwrap();
    // As long as the blob, then longer.
    fs::write(&path, vec![0; content.len()]).unwrap();
    let partial = writer.begin(&descriptor).unwrap();
    assert_eq!(partial.offset(), descriptor.size);
    partial.finish().unwrap_err();
    fs::write(&path, vec![0; content.len() + 1]).unwrap();
    let mut partial = writer.begin(&descriptor).unwrap();
    assert_eq!(partial.offset(), 0);
    partial.append(0, &content).unwrap();
    partial.finish().unwrap();
    writer.layout().verify(&descriptor).unwrap();

    let mut partial = writer.begin(&descriptor).unwrap();
    partial.append(0, &[0; 10]).unwrap();
    partial.restart().unwrap();
    partial.append(0, &content).unwrap();
    partial.finish().unwrap();
    writer.layout().verify(&descriptor).unwrap();
}

/// Copies a directory in its present state.
fn snapshot(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() { snapshot(&path, &copy) } else { fs::copy(&path, &copy).map(drop).unwrap() }
    }
}

#[test]
fn at_every_moment_the_layout_is_valid_and_can_be_completed() {
    let (memory, root) = Memory::sample();
    let whole = files(&Stored::sample().path());
    let home = tempfile::tempdir().unwrap();
    let (live, moment) = (home.path().join("live"), home.path().join("moment"));
    let mut writer = LayoutWriter::open(&live).unwrap();

    let mut moments = 0;
    let mut look = || {
        moments += 1;
        let copy = moment.join(moments.to_string());
        snapshot(&live, &copy);
        // It is valid: everything that it names exists.
        let layout = Layout::open(&copy).unwrap();
        assert_eq!(check(&copy, None).unwrap().collect::<Vec<_>>(), [], "moment {moments}");
        assert!(layout.roots().is_empty() || layout.verify(&root).is_ok());
        // After resumption, it is identical to one written without interruption.
        let mut next = LayoutWriter::open_with(&copy, Durability::Unsynced).unwrap();
        for (descriptor, _) in everything(&memory, &root) {
            if !next.layout().has(&descriptor) {
                let content = memory.bytes(&descriptor.digest).unwrap();
                let mut blob = next.begin(&descriptor).unwrap();
                let offset = blob.offset();
                blob.append(offset, &content[usize::try_from(offset).unwrap()..]).unwrap();
                blob.finish().unwrap();
            }
        }
        next.set_root(&root, Some(&name("latest"))).unwrap();
        drop(next);
        assert_eq!(files(&copy), whole, "moment {moments}");
    };

    look();
    for (descriptor, _) in everything(&memory, &root).iter().rev() {
        let content = memory.bytes(&descriptor.digest).unwrap();
        let mut blob = writer.begin(descriptor).unwrap();
        look();
        blob.append(0, &content[..content.len() / 2]).unwrap();
        look();
        blob.append(content.len() as u64 / 2, &content[content.len() / 2..]).unwrap();
        look();
        blob.finish().unwrap();
        look();
    }
    writer.set_root(&root, Some(&name("latest"))).unwrap();
    look();
    drop(writer);
    look();
    assert!(moments > 60, "{moments} moments");
}

/// Interrupts the creation of a layout after each step.
#[test]
fn an_incomplete_layout_is_completed() {
    let made = tempfile::tempdir().unwrap();
    drop(LayoutWriter::open(made.path()).unwrap());
    let expected = files(made.path());
    let index = fs::read(made.path().join("index.json")).unwrap();
    let marker = fs::read(made.path().join("oci-layout")).unwrap();

    let work = ".oci-proto-partial";
    let steps: [&dyn Fn(&Path); 7] = [
        &|at| fs::create_dir(at.join(work)).unwrap(),
        &|at| fs::write(at.join(work).join("lock"), "").unwrap(),
        &|at| fs::write(at.join(work).join("index.json"), &index[..5]).unwrap(),
        &|at| fs::rename(at.join(work).join("index.json"), at.join("index.json")).unwrap(),
        &|at| fs::create_dir(at.join("blobs")).unwrap(),
        &|at| fs::write(at.join(work).join("oci-layout"), &marker[..5]).unwrap(),
        &|at| fs::rename(at.join(work).join("oci-layout"), at.join("oci-layout")).unwrap(),
    ];
    for killed_after in 0..=steps.len() {
        let home = tempfile::tempdir().unwrap();
        for (n, step) in steps.iter().take(killed_after).enumerate() {
            // The file is complete when it is renamed.
            if n == 3 {
                fs::write(home.path().join(work).join("index.json"), &index).unwrap();
            }
            if n == 6 {
                fs::write(home.path().join(work).join("oci-layout"), &marker).unwrap();
            }
            step(home.path());
        }
        assert_eq!(
            Layout::open(home.path()).is_ok(),
            killed_after == steps.len(),
            "after {killed_after} steps"
        );
        drop(LayoutWriter::open(home.path()).unwrap());
        assert_eq!(files(home.path()), expected, "after {killed_after} steps");
    }
}

const DIRECTORY: &str = "OCI_PROTO_TEST_LAYOUT";

/// Not a test itself: the process that [`a_killed_process_releases_its_lock_and_keeps_its_blob`] kills.
#[test]
#[expect(clippy::print_stdout, reason = "the parent process waits for this line")]
fn the_process_that_is_killed() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let writer = LayoutWriter::open(directory).unwrap();
    let content = content();
    let mut partial = writer.begin(&blob(&content)).unwrap();
    partial.append(0, &content[..1234]).unwrap();
    println!("\nwritten");
    std::thread::sleep(std::time::Duration::from_secs(60));
}

#[test]
fn a_killed_process_releases_its_lock_and_keeps_its_blob() {
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "killed::the_process_that_is_killed", "--nocapture"])
        .env(DIRECTORY, home.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let written = lines.map_while(Result::ok).any(|line| line == "written");
    let locked = LayoutWriter::open(home.path());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(written && locked.is_err(), "the other process holds the lock");

    let writer = LayoutWriter::open(home.path()).unwrap();
    assert_eq!(writer.begin(&blob(&content())).unwrap().offset(), 1234);
}

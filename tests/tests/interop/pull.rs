//! Layouts written by `ocip pull`: readable by skopeo and umoci, and valid wherever the pull was killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use oci_proto::server::{Flavour, Memory, Server};
use oci_proto_layout::{Layout, check};
use oci_proto_tests::interop::{Program, Sample, Served, flat, ocip};
use serde_json::Value;
use tempfile::TempDir;

const ADAPTERS: [&str; 2] = ["tokio", "ureq"];

fn serve(memory: Memory, root: &oci_proto::Descriptor) -> Served {
    let mut server = Server::new();
    let (repository, tag) = ("team/app".parse().unwrap(), "1.0".parse().unwrap());
    server.add(&repository, Some(&tag), root, &memory).unwrap();
    Served::start(server, memory)
}

/// All files of a layout with their bytes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.clone(), fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    for (path, _) in &mut files {
        *path = path.strip_prefix(folder).unwrap().to_owned();
    }
    files
}

#[test]
fn a_killed_pull_leaves_a_valid_layout_and_the_next_pull_completes_it() {
    let sample = Sample::nested();
    let served = serve(sample.memory.clone(), &sample.root);
    let name = format!("{}/team/app:1.0", served.address());
    for adapter in ADAPTERS {
        let home = TempDir::new().unwrap();
        let pull = |folder: &Path| {
            let mut command = ocip();
            command.args(["pull", "-q", "--in-flight", "1", "--adapter", adapter, &name]).arg(folder);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            command
        };
        let whole = home.path().join("whole");
        // Builds the command first, if necessary.
        let mut first = pull(&whole);
        let began = Instant::now();
        assert!(first.status().unwrap().success());
        let takes = began.elapsed().min(Duration::from_millis(500));
        let expected = files(&whole);

        let (mut killed, mut with_parts) = (0, 0);
        let folder = home.path().join("killed");
        for step in 0..30 {
            let mut child = pull(&folder).spawn().unwrap();
            // Within the time of a whole pull. Each one is shorter, because it resumes the previous one.
            thread::sleep(takes * (step % 10) / 10);
            // It may have exited already.
            let _ = child.kill();
            killed += u32::from(!child.wait().unwrap().success());
            if Layout::is_at(&folder) {
                let findings: Vec<_> = check(&folder, None).unwrap().collect();
                assert!(findings.is_empty(), "{adapter}, killed at step {step}: {findings:#?}");
                with_parts += u32::from(folder.join(".oci-proto-partial").exists());
            }
            // On a busy machine, none may have begun to write.
            if step % 10 == 9 && folder.exists() {
                fs::remove_dir_all(&folder).unwrap();
            }
        }
        assert!(killed > 5, "{adapter}: only {killed} of 30 pulls were killed; {with_parts} left parts");
        let mut child = pull(&folder).spawn().unwrap();
        thread::sleep(takes / 2);
        let _ = child.kill();
        child.wait().unwrap();
        assert!(pull(&folder).status().unwrap().success());
        assert_eq!(files(&folder), expected, "{adapter}");
    }
}

#[test]
fn skopeo_and_umoci_read_a_pulled_layout() {
    let (Some(skopeo), Some(umoci)) = (Program::find("skopeo", "skopeo"), Program::find("umoci", "umoci"))
    else {
        return;
    };
    let mut memory = Memory::new();
    let root = flat(&mut memory, Flavour::OCI);
    let served = serve(memory, &root);
    for adapter in ADAPTERS {
        let home = TempDir::new().unwrap();
        let (pulled, copied) = (home.path().join("pulled"), home.path().join("copied"));
        let name = format!("{}/team/app:1.0", served.address());
        let status = ocip().args(["pull", "-q", "--adapter", adapter, &name]).arg(&pulled).status().unwrap();
        assert!(status.success());

        let run = |program: &Program, arguments: &[&str]| {
            let output = program.command(home.path()).args(arguments).stdin(Stdio::null()).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let layout = format!("oci:{}:1.0", pulled.display());
        let raw = run(&skopeo, &["inspect", "--raw", &layout]);
        assert_eq!(raw, fs::read(pulled.join(oci_proto::layout::blob_path(&root.digest))).unwrap());
        let copy = format!("oci:{}:1.0", copied.display());
        run(&skopeo, &["--insecure-policy", "copy", "--all", "--preserve-digests", &layout, &copy]);
        let content = |folder: &Path| files(&folder.join("blobs"));
        assert_eq!(content(&pulled), content(&copied), "{adapter}: skopeo copied other content");

        let listed = run(&umoci, &["ls", "--layout", pulled.to_str().unwrap()]);
        assert_eq!(String::from_utf8_lossy(&listed).trim(), "1.0");
        let index: Value = serde_json::from_slice(&fs::read(pulled.join("index.json")).unwrap()).unwrap();
        assert_eq!(index["manifests"][0]["digest"], root.digest.to_string());
    }
}

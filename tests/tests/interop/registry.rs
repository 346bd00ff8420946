//! skopeo pushes to our registry on disk, and other programs read its layouts as they lie.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use oci_proto::server::{Content as _, Flavour, Memory, Policy, Server};
use oci_proto::{Descriptor, MediaType, Time};
use oci_proto_layout::{Layout, LayoutErrorKind, LayoutWriter, RegistryDirectory, RegistryOptions, check};
use oci_proto_tests::interop::{Program, flat};
use oci_proto_tokio::server::{LocalRegistry, SharedRegistry};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

/// Serves a directory.
async fn serve(directory: &Path) -> (LocalRegistry, SharedRegistry<RegistryDirectory>) {
    let opened = timeout(Duration::from_secs(20), async {
        loop {
            match RegistryDirectory::open(directory, RegistryOptions::default()) {
                // The thread of the former registry is about to end.
                Err(error) if matches!(error.kind(), LayoutErrorKind::Served) => {
                    sleep(Duration::from_millis(1)).await;
                }
                opened => break opened.unwrap(),
            }
        }
    });
    let (storage, contents) = opened.await.unwrap();
    assert!(contents.warnings().is_empty());
    let mut policy = Policy::open();
    policy.reserved_components = RegistryDirectory::reserved_components().collect();
    let mut server = Server::with_policy(policy, 1);
    contents.load_into(&mut server, Time::ZERO);
    let registry = SharedRegistry::new(server, storage).unwrap();
    (registry.listen().await.unwrap(), registry)
}

fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn skopeo_pushes_and_pulls_and_umoci_reads_the_layout() {
    let (Some(skopeo), Some(umoci)) = (Program::find("skopeo", "skopeo"), Program::find("umoci", "umoci"))
    else {
        return;
    };
    let home = TempDir::with_prefix("registry-").unwrap();
    let mut memory = Memory::new();
    let root = flat(&mut memory, Flavour::OCI);
    let mut source = LayoutWriter::open(home.path().join("source")).unwrap();
    for (digest, bytes) in memory.contents() {
        let (media_type, size) = (MediaType::OCTET_STREAM, bytes.len() as u64);
        source.put(&Descriptor::new(media_type, digest.clone(), size), bytes).unwrap();
    }
    source.set_root(&root, Some(&"1".parse().unwrap())).unwrap();
    drop(source);
    let copy = |from: &str, to: &str| {
        let mut command = skopeo.command(home.path());
        command.args(["--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests"]);
        command.args(["--src-tls-verify=false", "--dest-tls-verify=false", from, to]);
        // The registry runs on this thread.
        let running = tokio::task::spawn_blocking(|| run(command));
        async { running.await.unwrap() }
    };
    let directory = home.path().join("registry");
    let path = |name: &str| format!("oci:{}", home.path().join(name).display());
    for (n, name) in ["team/app", "team/app", "team"].into_iter().enumerate() {
        let (listening, registry) = serve(&directory).await;
        let there = format!("docker://{}/{name}:v{n}", listening.address());
        copy(&format!("{}:1", path("source")), &there).await;
        copy(&there, &format!("{}:{n}", path("back"))).await;
        listening.stop().await.unwrap();
        drop(registry);
    }
    for (layout, tags) in [("registry/team/app", "v0\nv1\n"), ("registry/team", "v2\n")] {
        let layout = home.path().join(layout);
        assert_eq!(check(&layout, None).unwrap().count(), 0, "{}", layout.display());
        let mut list = umoci.command(home.path());
        list.args(["list", "--layout"]).arg(&layout);
        assert_eq!(run(list), tags, "{}", layout.display());
    }
    let back = Layout::open(home.path().join("back")).unwrap();
    for (digest, bytes) in memory.contents() {
        assert_eq!(back.bytes(digest).as_ref(), Some(bytes), "{digest}");
    }
}

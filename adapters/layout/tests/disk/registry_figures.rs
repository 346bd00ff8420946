//! Figures of a registry on disk with many manifests. Run by hand, with `--release`.

use std::fs;
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, HOST};
use oci_proto::layout::blob_path;
use oci_proto::server::{EmbeddedRegistry, Policy, Server};
use oci_proto::{Algorithm, Digest, Time};
use oci_proto_layout::oci_proto;
use oci_proto_layout::{RegistryDirectory, RegistryOptions};
use serde_json::json;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

fn sha256(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

fn image(number: usize) -> String {
    let config = json!({ "mediaType": "text/plain", "digest": sha256("{}").to_string(), "size": 2 });
    json!({
        "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [config],
        "annotations": { "number": number.to_string() },
    })
    .to_string()
}

#[test]
#[ignore = "takes a minute; run it with --release and --nocapture"]
#[expect(clippy::print_stdout, reason = "prints figures")]
fn figures_of_a_registry_with_many_manifests() {
    for count in [10_000, 100_000] {
        let home = tempfile::tempdir().unwrap();
        let start = || {
            let (storage, contents) =
                RegistryDirectory::open(home.path(), RegistryOptions::default()).unwrap();
            let mut server = Server::with_policy(Policy::open(), 1);
            contents.load_into(&mut server, Time::ZERO);
            EmbeddedRegistry::new(server, storage)
        };
        let send = |registry: &mut EmbeddedRegistry<_>, method: &str, target: &str, body: &str| {
            let request = Request::builder().method(method).uri(target).header(HOST, "registry");
            let request = request.header(CONTENT_TYPE, IMAGE).body(Bytes::copy_from_slice(body.as_bytes()));
            registry.respond(Time::ZERO, request.unwrap()).status().as_u16()
        };
        let blob = |content: &str| format!("/v2/app/blobs/uploads/?digest={}", sha256(content));
        assert_eq!(send(&mut start(), "POST", &blob("{}"), "{}"), 201);
        let layout = home.path().join("app");
        let entries: Vec<_> = (0..count)
            .map(|n| {
                let document = image(n);
                let digest = sha256(&document);
                fs::write(layout.join(blob_path(&digest)), &document).unwrap();
                json!({
                    "mediaType": IMAGE, "digest": digest.to_string(), "size": document.len(),
                    "annotations": { "org.opencontainers.image.ref.name": format!("tag-{n}") },
                })
            })
            .collect();
        let index = json!({ "schemaVersion": 2, "manifests": entries }).to_string();
        println!("{count} manifests, index.json has {} KB", index.len() / 1000);
        fs::write(layout.join("index.json"), index).unwrap();

        let began = Instant::now();
        let mut registry = start();
        println!("  start: {:?}", began.elapsed());
        let mut timed = |what: &str, method: &str, target: &str, body: &str| {
            let began = Instant::now();
            let status = send(&mut registry, method, target, body);
            println!("  {what}: {:?}", began.elapsed());
            assert!(status < 300, "{method} {target}: {status}");
        };
        for n in 0..3 {
            let document = image(count + n);
            timed("push of a manifest", "PUT", &format!("/v2/app/manifests/new-{n}"), &document);
            timed("its deletion", "DELETE", &format!("/v2/app/manifests/{}", sha256(&document)), "");
        }
        timed("push of a blob", "POST", &blob("content"), "content");
    }
}

//! docker-registry with TLS, with a certificate of the test's own authority.

use std::fs;
use std::sync::Arc;

use oci_proto::{Config, FaultKind, PlainHttp};
use oci_proto_common::TransferOptions;
use oci_proto_tests::clients::{adapters_with, settings};
use oci_proto_tests::internet::Authority;
use oci_proto_tests::interop::{self, Sample};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Ocip, downloads, filled, root, walks};

#[test]
fn docker_registry_is_read_and_written_over_tls_if_its_authority_is_trusted() {
    let sample = Sample::nested();
    let Some(plain) = filled(&sample) else { return };
    let authority = Authority::new();
    let (certificate, key) = authority.issue_pem("127.0.0.1");
    let folder = TempDir::with_prefix("tls-").unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let files = json!({ "certificate": file("certificate", &certificate), "key": file("key", &key) });
    let registry = plain.beside(&interop::Settings::new().with(&["http", "tls"], files));
    let authority_file = file("authority", authority.pem());

    let mut config = Config::default();
    config.plain_http = PlainHttp::Never;
    let settings = settings().config(config);
    let root = root(registry.address());
    for stranger in adapters_with(&settings) {
        let error = stranger.resolve(&root, None).unwrap_err();
        let kind = error.fault().map(oci_proto::Fault::kind);
        assert_eq!(kind, Some(FaultKind::Tls), "{}: {error}", stranger.name());
        assert_eq!(stranger.requests(), 1, "{}: an untrusted certificate is not retried", stranger.name());
    }
    let settings = settings.add_root_certificates_pem(authority.pem().as_bytes()).unwrap();
    for client in adapters_with(&settings) {
        walks(&*client, &root, &sample);
        downloads(&*client, &root, &sample);
        let to = format!("{}/pushed/{}:1", registry.address(), client.name()).parse().unwrap();
        let memory = Arc::new(sample.memory.clone());
        client.push(&sample.root, &to, memory, TransferOptions::default()).unwrap();
        walks(&*client, &to, &sample);
    }
    Ocip::new().prints(&root, &sample, &["--ca-file", authority_file.to_str().unwrap()], "");
}

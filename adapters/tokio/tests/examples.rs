//! The transport of an example, against a registry.

use futures_util::TryStreamExt as _;
use oci_proto::server::Policy;
use oci_proto::{Algorithm, Descriptor, Digest, Fault, FaultKind, Manifest, MediaType, Reference};
use oci_proto_tokio::server::SharedRegistry;
use oci_proto_tokio::{Client, Settings, UploadOptions};

use crate::over_reqwest::OverReqwest;

#[allow(dead_code, reason = "its main function")]
#[path = "../examples/over_reqwest.rs"]
mod over_reqwest;

fn client() -> Client {
    // The first test to come installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let transport = OverReqwest::new(reqwest::Client::builder().no_proxy()).unwrap();
    Client::with_transport(Settings::default(), transport, OverReqwest::classify).unwrap()
}

#[tokio::test]
async fn content_is_pushed_and_read_over_reqwest() {
    let registry = SharedRegistry::in_memory(Policy::open()).unwrap().listen().await.unwrap();
    let image: Reference = format!("{}/app:1", registry.address()).parse().unwrap();
    let client = client();
    let content: &'static [u8] = vec![7; 3_000_000].leak();
    let digest = Digest::of(Algorithm::Sha256, content);
    let blob = Descriptor::new(MediaType::OCTET_STREAM, digest, content.len() as u64);
    client.upload(&image, &blob, content, UploadOptions::default()).await.unwrap();
    assert_eq!(client.described_blob_bytes(&image, &blob, 3_000_000).await.unwrap(), content);
    let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let manifest = Manifest::read(index.into(), oci_proto::Evidence::default()).unwrap();
    client.push_manifest(&image, &manifest, Vec::new()).await.unwrap();
    let tags: Vec<_> = client.tags(&image, None).try_collect().await.unwrap();
    assert_eq!(tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1"]);
}

#[tokio::test]
async fn an_error_of_connecting_over_reqwest_is_known() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let image: Reference = format!("{free}/app:1").parse().unwrap();
    let error = client().resolve(&image, None).await.unwrap_err();
    assert_eq!(error.fault().map(Fault::kind), Some(FaultKind::Connect), "{error}");
}

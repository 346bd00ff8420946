//! Serving layouts on disk.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::read_head;
use oci_proto::layout::blob_path;
use oci_proto::server::{Flavour, Memory, Server};
use oci_proto::{Algorithm, Descriptor, Digest, FaultKind, MediaType};
use oci_proto_layout::{Layout, LayoutWriter};
use oci_proto_tokio::Client;
use oci_proto_tokio::server::serve;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Writes an image of one layer, and serves it.
async fn start(folder: &Path, layer: &[u8]) -> std::net::SocketAddr {
    let mut memory = Memory::new();
    let root = memory.add_image(Flavour::OCI, None, &[layer]);
    let mut writer = LayoutWriter::open(folder).unwrap();
    for (digest, content) in memory.contents() {
        let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), content.len() as u64);
        writer.put(&descriptor, content).unwrap();
    }
    writer.set_root(&root, None).unwrap();
    drop(writer);

    let layout = Layout::open(folder).unwrap();
    let mut server = Server::new();
    server.add(&"demo".parse().unwrap(), Some(&"latest".parse().unwrap()), &root, &layout).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, Arc::new(server), layout, std::future::pending::<()>()));
    address
}

#[tokio::test]
async fn a_blob_and_a_range_of_it_are_served_from_its_file() {
    let home = tempfile::tempdir().unwrap();
    let layer: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let address = start(home.path(), &layer).await;
    let client = Client::new().unwrap();
    let calls = (0..4).map(|_| {
        let client = client.clone();
        let name = common::blob_of(address, &layer);
        tokio::spawn(async move { client.blob_bytes(&name, None, 2_000_000).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(call.await.unwrap().unwrap() == layer, "one of several at once");
    }

    let digest = Digest::of(Algorithm::Sha256, &layer);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /v2/demo/blobs/{digest} HTTP/1.1\r\nHost: x\r\nRange: bytes=1999990-\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    let mut part = Vec::new();
    stream.read_to_end(&mut part).await.unwrap();
    assert_eq!(part, layer[1_999_990..]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_in_place_of_a_blob_is_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let layer = b"the target of the link";
    let address = start(&home.path().join("layout"), layer).await;
    let path = home.path().join("layout").join(blob_path(&Digest::of(Algorithm::Sha256, layer)));
    fs::rename(&path, home.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(home.path().join("elsewhere"), &path).unwrap();
    let client = Client::new().unwrap();
    let error = client.blob_bytes(&common::blob_of(address, layer), None, 1000).await.unwrap_err();
    assert_eq!(error.fault().map(oci_proto::Fault::kind), Some(FaultKind::Reset), "{error}");
}

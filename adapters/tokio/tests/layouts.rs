//! Serving layouts on disk.

mod common;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use common::read_head;
use oci_proto::layout::blob_path;
use oci_proto::server::{Flavour, Memory, Server};
use oci_proto::{Algorithm, Descriptor, Digest, MediaType};
use oci_proto_layout::{Layout, LayoutWriter};
use oci_proto_tokio::Client;
use oci_proto_tokio::server::Options;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Writes an image of one layer, and serves it.
async fn start(folder: &Path, layer: &[u8]) -> std::net::SocketAddr {
    start_with(folder, layer, Options::default()).await
}

async fn start_with(folder: &Path, layer: &[u8], options: Options) -> std::net::SocketAddr {
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
    tokio::spawn(options.serve(listener, Arc::new(server), layout, std::future::pending::<()>()));
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

/// Puts something in the place of a file.
#[cfg(unix)]
type Replace<'a> = &'a dyn Fn(&Path);

/// Whatever is in the place of a blob is answered with an error for GET and HEAD alike, and reported.
#[cfg(unix)]
#[tokio::test]
async fn a_blob_that_cannot_be_read_is_an_error_response_and_reported() {
    let layer = b"the layer";
    let digest = Digest::of(Algorithm::Sha256, layer);
    let link = |path: &Path| {
        fs::write(path.with_extension("elsewhere"), layer).unwrap();
        std::os::unix::fs::symlink(path.with_extension("elsewhere"), path).unwrap();
    };
    let cases: [(&str, Replace<'_>, _, _); 4] = [
        ("not found", &|_| {}, "404 Not Found", "BLOB_UNKNOWN"),
        ("found a symbolic link", &link, "500 Internal Server Error", "UNKNOWN"),
        ("found a directory", &|path| fs::create_dir(path).unwrap(), "500 Internal Server Error", "UNKNOWN"),
        ("8 bytes", &|path| fs::write(path, "too few.").unwrap(), "500 Internal Server Error", "UNKNOWN"),
    ];
    for (reason, replace, status, code) in cases {
        let home = tempfile::tempdir().unwrap();
        let reports = Arc::new(Mutex::new(Vec::new()));
        let (shared, expected) = (reports.clone(), digest.clone());
        let options = Options::default().on_blob_error(move |error| {
            assert_eq!(*error.digest(), expected);
            shared.lock().unwrap().push(error.to_string());
        });
        let address = start_with(home.path(), layer, options).await;
        let path = home.path().join(blob_path(&digest));
        fs::remove_file(&path).unwrap();
        replace(&path);
        let mut heads = Vec::new();
        for method in ["GET", "HEAD"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request =
                format!("{method} /v2/demo/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let head = read_head(&mut stream).await.unwrap();
            let mut body = String::new();
            stream.read_to_string(&mut body).await.unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{reason}: {head}");
            assert_eq!(body.contains(code), method == "GET", "{reason}: {body}");
            assert_eq!(body.contains("errors"), method == "GET", "{reason}: {body}");
            // The dates may differ.
            heads.push(head.lines().filter(|line| !line.starts_with("date")).collect::<Vec<_>>().join("\n"));
        }
        assert_eq!(heads[0], heads[1], "{reason}");
        let reports = reports.lock().unwrap();
        assert_eq!(reports.len(), 2, "{reports:?}");
        for report in &*reports {
            assert!(report.contains(reason) && report.contains(path.to_str().unwrap()), "{reason}: {report}");
        }
    }
}

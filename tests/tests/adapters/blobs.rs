//! Blobs with a descriptor, with and without embedded data.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use oci_proto::server::{Flavour, Memory, Server};
use oci_proto::{Algorithm, Descriptor, Digest, FaultKind, MediaType, Reference};
use oci_proto_tests::adapter::{Adapter, Blob};
use oci_proto_tests::clients::adapters;
use oci_proto_tests::interop::Served;
use tokio::io::AsyncWrite;

const LAYER: &[u8] = b"a layer that a descriptor may carry";

/// A registry with the layer, its repository, and the layer's descriptor.
fn serve() -> (Served, Reference, Descriptor) {
    let mut memory = Memory::new();
    let root = memory.add_image(Flavour::OCI, None, &[LAYER]);
    let mut held = Server::new();
    held.add(&"demo".parse().unwrap(), None, &root, &memory).unwrap();
    let served = Served::start(held, memory);
    let reference = format!("{}/demo", served.address()).parse().unwrap();
    let media_type: MediaType = "application/vnd.oci.image.layer.v1.tar".parse().unwrap();
    let layer = Descriptor::new(media_type, Digest::of(Algorithm::Sha256, LAYER), LAYER.len() as u64);
    (served, reference, layer)
}

/// Reads a blob in each of an adapter's ways.
fn in_every_way(adapter: &dyn Adapter, of: Blob<'_>) -> [Vec<u8>; 3] {
    let mut written = Vec::new();
    assert_eq!(adapter.blob_to(of, &mut written).unwrap(), written.len() as u64);
    [written, adapter.blob_bytes(of, 100).unwrap(), adapter.blob_read(of).unwrap()]
}

#[test]
fn a_descriptor_identifies_a_blob() {
    let (_served, reference, layer) = serve();
    for adapter in adapters() {
        let got = in_every_way(&*adapter, Blob::Described(&reference, &layer));
        assert_eq!(got, [LAYER, LAYER, LAYER], "{}", adapter.name());
        assert_eq!(adapter.requests(), 3, "{}", adapter.name());
    }
}

#[test]
fn embedded_data_needs_no_request() {
    // No server listens at this address.
    let reference: Reference = "127.0.0.1:1/demo".parse().unwrap();
    let (_, _, mut layer) = serve();
    layer.data = Some(LAYER.into());
    let empty = Descriptor::new(layer.media_type.clone(), Digest::of(Algorithm::Sha256, b""), 0);
    for adapter in adapters() {
        for (descriptor, content) in [(&layer, LAYER), (&empty, b"")] {
            let got = in_every_way(&*adapter, Blob::Described(&reference, descriptor));
            assert_eq!(got, [content, content, content], "{}", adapter.name());
        }
        assert_eq!(adapter.requests(), 0, "{}", adapter.name());
    }
}

#[test]
fn embedded_data_that_does_not_match_is_ignored() {
    let (_served, reference, mut layer) = serve();
    layer.data = Some(LAYER.to_ascii_uppercase().into());
    for adapter in adapters() {
        let got = adapter.blob_bytes(Blob::Described(&reference, &layer), 100).unwrap();
        assert_eq!(got, LAYER, "{}", adapter.name());
        assert_eq!(adapter.requests(), 1, "{}", adapter.name());
    }
}

#[test]
fn embedded_data_is_bounded() {
    let (_served, reference, mut layer) = serve();
    layer.data = Some(LAYER.into());
    for adapter in adapters() {
        let of = Blob::Described(&reference, &layer);
        let error = adapter.blob_bytes(of, LAYER.len() as u64 - 1).unwrap_err();
        assert!(error.to_string().contains("more than 34 bytes"), "{}: {error}", adapter.name());
        assert_eq!(adapter.requests(), 0, "{}", adapter.name());
    }
}

/// Fails like a full disk, immediately or when flushed.
struct Full {
    at_once: bool,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.at_once { Err(io::ErrorKind::StorageFull.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

impl AsyncWrite for Full {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.write(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_full_disk_fails_a_blob_whatever_its_source() {
    let (_served, reference, layer) = serve();
    let mut carried = layer.clone();
    carried.data = Some(LAYER.into());
    for adapter in adapters() {
        for descriptor in [&layer, &carried] {
            for at_once in [true, false] {
                let of = Blob::Described(&reference, descriptor);
                let error = adapter.blob_to(of, &mut Full { at_once }).unwrap_err();
                let case = format!("{}, at once {at_once}: {error}", adapter.name());
                assert_eq!(error.fault().map(oci_proto::Fault::kind), Some(FaultKind::Storage), "{case}");
                assert!(error.to_string().contains("no storage space"), "{case}");
            }
        }
    }
}

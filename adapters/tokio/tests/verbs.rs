//! Each method of the client against the core's registry.

mod common;

use std::time::Duration;

use common::Registry;
use futures_util::StreamExt;
use oci_proto::server::{Content, Flavour, Memory};
use oci_proto::{Algorithm, Digest, Found, MediaType, Node, WalkOptions};
use oci_proto_tokio::Client;
use tokio::io::{AsyncBufReadExt, AsyncReadExt};

/// A registry with an image of one layer, and the digest of the layer.
async fn one_layer(layer: &[u8]) -> (Registry, Digest) {
    let mut memory = Memory::new();
    let root = memory.add_image(Flavour::OCI, None, &[layer]);
    (Registry::new(memory, root).await, Digest::of(Algorithm::Sha256, layer))
}

fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(size)
    .collect()
}

#[tokio::test]
async fn resolve_takes_one_request() {
    let registry = Registry::sample().await;
    let client = Client::new().unwrap();
    let resolved = client.resolve(&registry.latest(), None).await.unwrap();
    assert_eq!((&resolved.digest, resolved.size), (&registry.root.digest, registry.root.size));
    assert_eq!(resolved.media_type, MediaType::OCI_INDEX);
    assert_eq!(client.metrics().requests, 1);
}

#[tokio::test]
async fn a_platform_is_selected_in_nested_indexes() {
    let registry = Registry::sample().await;
    let client = Client::new().unwrap();
    let platform = "linux/arm64".parse().unwrap();
    let resolved = client.resolve(&registry.latest(), Some(&platform)).await.unwrap();
    let (descriptor, manifest) = client.manifest(&registry.latest(), Some(&platform)).await.unwrap();
    assert_eq!(resolved.digest, descriptor.digest);
    assert_eq!(registry.memory.bytes(&descriptor.digest).as_ref(), Some(manifest.bytes()));
    assert_eq!(manifest.media_type(), &MediaType::OCI_MANIFEST);
}

#[tokio::test]
async fn missing_content_is_not_found() {
    let registry = Registry::sample().await;
    let client = Client::new().unwrap();
    let reference = format!("{}/demo:nothing", registry.address).parse().unwrap();
    assert!(client.resolve(&reference, None).await.unwrap_err().is_not_found());
    assert!(client.manifest(&reference, None).await.unwrap_err().is_not_found());
    let mut walk = client.walk(&reference, WalkOptions::default());
    assert!(walk.next().await.unwrap().unwrap_err().is_not_found());
    assert!(walk.next().await.is_none(), "an error is the last item of a walk");
}

#[tokio::test]
async fn a_walk_yields_the_tree_in_document_order() {
    let registry = Registry::sample().await;
    let client = Client::new().unwrap();
    let nodes: Vec<Node> =
        client.walk(&registry.latest(), WalkOptions::default()).map(Result::unwrap).collect().await;
    let depths: Vec<u32> = nodes.iter().map(|node| node.depth).collect();
    assert_eq!(depths, [0, 1, 2, 2, 2, 1, 2, 2, 1, 1, 1]);
    assert_eq!(nodes[0].descriptor.digest, registry.root.digest);
    assert!(matches!(nodes[9].found, Found::Repeated), "{:?}", nodes[9]);
    assert!(matches!(nodes[10].found, Found::Leaf), "{:?}", nodes[10]);
    for node in &nodes {
        if let Found::Manifest(manifest) = &node.found {
            assert_eq!(registry.memory.bytes(&node.descriptor.digest).as_ref(), Some(manifest.bytes()));
        }
    }
    assert_eq!(client.metrics().requests, 9, "every manifest is fetched once");
}

#[tokio::test]
async fn a_blob_is_written_to_a_writer() {
    let layer = noise(3_000_000);
    let (registry, digest) = one_layer(&layer).await;
    let client = Client::new().unwrap();
    let mut written = Vec::new();
    let size = client.blob_to(&registry.of(&digest), Some(3_000_000), &mut written).await.unwrap();
    assert_eq!(size, 3_000_000);
    assert!(written == layer, "the writer received other bytes");
    assert_eq!(client.metrics().requests, 1);
}

#[tokio::test]
async fn a_blob_is_read() {
    let layer = noise(3_000_000);
    let (registry, digest) = one_layer(&layer).await;
    let client = Client::new().unwrap();
    let mut read = Vec::new();
    client.blob(&registry.of(&digest), None).read_to_end(&mut read).await.unwrap();
    assert!(read == layer, "the reader returned other bytes");

    let mut reader = client.blob(&registry.of(&digest), None);
    let mut buffered = 0;
    loop {
        let amount = reader.fill_buf().await.unwrap().len();
        if amount == 0 {
            break;
        }
        buffered += amount;
        reader.consume(amount);
    }
    assert_eq!(buffered, 3_000_000);
}

#[tokio::test]
async fn reading_wrong_bytes_ends_with_an_error_and_no_end_of_file() {
    let layer = noise(300_000);
    let mut memory = Memory::new();
    let root = memory.add_image(Flavour::OCI, None, &[&layer]);
    let digest = Digest::of(Algorithm::Sha256, &layer);
    let mut wrong = layer.clone();
    wrong[200_000] ^= 1;
    let mut blobs = memory.clone();
    assert!(blobs.corrupt(&digest, wrong));
    let registry = Registry::serving(memory, blobs, root).await;

    let client = Client::new().unwrap();
    let mut reader = client.blob(&registry.of(&digest), Some(300_000));
    let mut read = Vec::new();
    let error = reader.read_to_end(&mut read).await.unwrap_err();
    assert_eq!(read.len(), 300_000, "bytes are returned before they are verified");
    let inner = error.get_ref().unwrap().downcast_ref::<oci_proto::Error>().unwrap();
    assert!(inner.to_string().contains(digest.to_string().as_str()), "{inner}");
    assert!(reader.read_u8().await.is_err(), "later reads fail too");
}

#[tokio::test]
async fn blob_bytes_rejects_a_blob_above_the_limit() {
    let (registry, digest) = one_layer(b"twelve bytes").await;
    let client = Client::new().unwrap();
    let blob = registry.of(&digest);
    assert_eq!(client.blob_bytes(&blob, None, 12).await.unwrap(), "twelve bytes");
    assert_eq!(client.metrics().requests, 1);
    let error = client.blob_bytes(&blob, None, 11).await.unwrap_err();
    assert!(error.to_string().contains("more than 11 bytes"), "{error}");
    assert_eq!(client.metrics().requests, 2);
    let error = client.blob_bytes(&blob, Some(12), 11).await.unwrap_err();
    assert!(error.to_string().contains("more than 11 bytes"), "{error}");
    assert_eq!(client.metrics().requests, 2, "a size beyond the limit needs no request");
}

#[tokio::test]
async fn the_empty_blob_needs_no_request() {
    let registry = Registry::sample().await;
    let client = Client::new().unwrap();
    let empty = registry.of(&Digest::of(Algorithm::Sha256, b""));
    let mut written = Vec::new();
    assert_eq!(client.blob_to(&empty, Some(0), &mut written).await.unwrap(), 0);
    assert_eq!(client.blob_bytes(&empty, None, 0).await.unwrap(), "");
    assert_eq!(client.metrics().requests, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_one_client_run_concurrently() {
    let registry = Registry::sample().await;
    let client = Client::new().unwrap();
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let (client, reference) = (client.clone(), registry.latest());
            tokio::spawn(async move { client.manifest(&reference, None).await.unwrap().0.digest })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), registry.root.digest);
    }
    assert_eq!(client.metrics().requests, 200);
}

#[tokio::test]
async fn a_reader_that_is_not_read_does_not_block_other_calls() {
    let (registry, digest) = one_layer(&noise(3_000_000)).await;
    let client = Client::new().unwrap();
    let mut reader = client.blob(&registry.of(&digest), None);
    let mut first = vec![0; 1000];
    reader.read_exact(&mut first).await.unwrap();
    client.resolve(&registry.latest(), None).await.unwrap();
    let whole = client.blob_bytes(&registry.of(&digest), None, 3_000_000).await.unwrap();
    reader.read_to_end(&mut first).await.unwrap();
    assert!(first == whole, "the reader returned other bytes");
}

/// A registry with an index of this many images.
async fn wide(images: usize) -> Registry {
    let mut memory = Memory::new();
    let images: Vec<_> = (0..images)
        .map(|number| memory.add_image(Flavour::OCI, None, &[number.to_string().as_bytes()]))
        .collect();
    let root = memory.add_index(Flavour::OCI, &images);
    Registry::new(memory, root).await
}

#[tokio::test]
async fn a_walk_that_is_not_polled_pauses_and_resumes() {
    let registry = wide(500).await;
    let client = Client::new().unwrap();
    let mut walk = client.walk(&registry.latest(), WalkOptions::default());
    walk.next().await.unwrap().unwrap();
    let mut requests = client.metrics().requests;
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        if client.metrics().requests == requests {
            break;
        }
        requests = client.metrics().requests;
    }
    assert!((60..120).contains(&requests), "{requests} requests for a walk that is not polled");
    // Other calls are not blocked.
    client.resolve(&registry.latest(), None).await.unwrap();
    assert_eq!(client.walk(&registry.latest(), WalkOptions::default()).count().await, 501);
    assert_eq!(walk.count().await, 500);
}

use bytes::Bytes;
use serde_json::json;

use crate::server::Server;
use crate::server::add::*;
use crate::server::memory::{Flavour, Memory};
use crate::types::digest::Algorithm;
use crate::types::reference::name::Repository;

fn repository() -> Repository {
    "a".parse().unwrap()
}

fn add(server: &mut Server, memory: &Memory, root: &Descriptor) -> Result<(), AddError> {
    server.add(&repository(), None, root, memory)
}

fn refusal(memory: &Memory, root: &Descriptor) -> AddError {
    let mut server = Server::new();
    let error = add(&mut server, memory, root).unwrap_err();
    assert!(server.repositories.is_empty(), "a failed add left something behind");
    error
}

/// An image of one layer, and the digest of that layer.
fn image(memory: &mut Memory) -> (Descriptor, Digest) {
    let layer: &[u8] = b"a layer";
    (memory.add_image(Flavour::OCI, None, &[layer]), Digest::of(Algorithm::Sha256, layer))
}

fn status(server: &Server, target: &str) -> u16 {
    let (head, ()) = http::Request::get(target).body(()).unwrap().into_parts();
    server.respond(&head).status().as_u16()
}

#[test]
fn everything_under_the_root_is_served() {
    let mut memory = Memory::new();
    let (image, layer) = image(&mut memory);
    let wide = memory.add_image(Flavour::DOCKER.by(Algorithm::Sha512), None, &[b"x"]);
    let inner = memory.add_index(Flavour::DOCKER, [&image]);
    let root = memory.add_index(Flavour::OCI.without_media_type(), [&inner, &wide]);
    let mut server = Server::new();
    add(&mut server, &memory, &root).unwrap();
    for manifest in [&root, &inner, &image, &wide] {
        assert_eq!(status(&server, &format!("/v2/a/manifests/{}", manifest.digest)), 200);
    }
    for blob in [&layer, &Digest::of(Algorithm::Sha512, b"x")] {
        assert_eq!(status(&server, &format!("/v2/a/blobs/{blob}")), 200);
    }
}

#[test]
fn content_is_visible_only_where_it_was_added() {
    let mut memory = Memory::new();
    let (image, layer) = image(&mut memory);
    let mut server = Server::new();
    add(&mut server, &memory, &image).unwrap();
    let other = memory.add_image(Flavour::OCI, None, &[b"another layer"]);
    server.add(&"b".parse().unwrap(), None, &other, &memory).unwrap();
    assert_eq!(status(&server, &format!("/v2/a/blobs/{layer}")), 200);
    assert_eq!(status(&server, &format!("/v2/b/blobs/{layer}")), 404);
    assert_eq!(status(&server, &format!("/v2/b/manifests/{}", image.digest)), 404);
}

#[test]
fn a_tag_moves_and_what_it_named_stays() {
    let mut memory = Memory::new();
    let (first, _) = image(&mut memory);
    let second = memory.add_image(Flavour::OCI, None, &[b"another layer"]);
    let mut server = Server::new();
    let tag = "t".parse().unwrap();
    for root in [&first, &second] {
        server.add(&repository(), Some(&tag), root, &memory).unwrap();
    }
    assert_eq!(server.repositories[&repository()].tags[&tag], second.digest);
    assert_eq!(status(&server, &format!("/v2/a/manifests/{}", first.digest)), 200);
}

#[test]
fn what_is_removed_is_gone_from_one_repository() {
    let mut memory = Memory::new();
    let (image, _) = image(&mut memory);
    let mut server = Server::new();
    let (a, b) = (repository(), "b".parse().unwrap());
    for repository in [&a, &b] {
        server.add(repository, Some(&"t".parse().unwrap()), &image, &memory).unwrap();
    }
    assert!(server.remove(&a, &image.digest));
    assert!(!server.remove(&a, &image.digest));
    assert_eq!(status(&server, "/v2/a/manifests/t"), 404);
    assert_eq!(status(&server, "/v2/b/manifests/t"), 200);
}

#[test]
fn a_missing_blob_is_named_with_its_document() {
    let mut memory = Memory::new();
    let (image, layer) = image(&mut memory);
    let root = memory.add_index(Flavour::OCI, [&image]);
    memory.remove(&layer);
    let error = refusal(&memory, &root);
    assert_eq!(error.problem(), &AddProblem::Missing);
    assert_eq!((error.digest(), error.document()), (&layer, Some(&image.digest)));
    assert_eq!(
        error.to_string(),
        format!("cannot add {layer} (layers[0] of {}): the content is not there", image.digest)
    );
}

#[test]
fn a_missing_manifest_is_named_with_its_index() {
    let mut memory = Memory::new();
    let (image, _) = image(&mut memory);
    let other = memory.add_image(Flavour::OCI, None, &[b"another layer"]);
    let root = memory.add_index(Flavour::OCI, [&other, &image]);
    memory.remove(&image.digest);
    let error = refusal(&memory, &root);
    assert_eq!((error.digest(), error.document()), (&image.digest, Some(&root.digest)));
    assert!(error.to_string().contains("manifests[1]"), "{error}");
    memory.remove(&root.digest);
    let error = refusal(&memory, &root);
    assert_eq!((error.digest(), error.document()), (&root.digest, None));
}

#[test]
fn of_several_wrong_entries_the_first_is_named() {
    let mut memory = Memory::new();
    let (first, _) = image(&mut memory);
    let second = memory.add_image(Flavour::OCI, None, &[b"another layer"]);
    let root = memory.add_index(Flavour::OCI, [&first, &second]);
    memory.remove(&first.digest);
    memory.remove(&second.digest);
    assert_eq!(refusal(&memory, &root).digest(), &first.digest);
}

#[test]
fn wrong_bytes_and_wrong_sizes_are_refused() {
    let mut memory = Memory::new();
    let (image, layer) = image(&mut memory);
    let root = memory.add_index(Flavour::OCI, [&image]);

    let mut wrong = memory.clone();
    wrong.corrupt(&layer, "longer than the layer was");
    assert_eq!(refusal(&wrong, &root).problem(), &AddProblem::Size { expected: 7, found: 25 });

    let mut wrong = memory.clone();
    let bytes = memory.bytes(&image.digest).unwrap();
    let changed: Bytes = bytes.iter().map(|b| if *b == b'a' { b'b' } else { *b }).collect();
    let found = Digest::of(Algorithm::Sha256, &changed);
    wrong.corrupt(&image.digest, changed);
    assert_eq!(refusal(&wrong, &root).problem(), &AddProblem::Digest { found });

    let mut wrong = memory.clone();
    wrong.corrupt(&image.digest, "{}");
    assert!(matches!(refusal(&wrong, &root).problem(), AddProblem::Size { found: 2, .. }));

    let broken = memory.add_document(MediaType::OCI_INDEX, "not JSON");
    assert!(matches!(refusal(&memory, &broken).problem(), AddProblem::Refused(_)));
}

#[test]
fn a_repeated_digest_has_to_be_right_each_time() {
    let mut memory = Memory::new();
    let (image, _) = image(&mut memory);
    let mut lying = image.clone();
    lying.size += 1;
    let root = memory.add_index(Flavour::OCI, [&image, &lying]);
    assert!(matches!(refusal(&memory, &root).problem(), AddProblem::Size { .. }));
    let root = memory.add_index(Flavour::OCI, [&image, &image]);
    add(&mut Server::new(), &memory, &root).unwrap();
}

#[test]
fn an_entry_that_is_read_once_is_served_as_what_it_is() {
    let mut memory = Memory::new();
    let (image, _) = image(&mut memory);
    let mut unread = image.clone();
    unread.media_type = "application/vnd.example.other".parse().unwrap();
    for entries in [[&image, &unread], [&unread, &image]] {
        let root = memory.add_index(Flavour::OCI, entries);
        let mut server = Server::new();
        add(&mut server, &memory, &root).unwrap();
        let held = &server.repositories[&repository()].manifests[&image.digest];
        assert_eq!((&held.media_type, held.bytes.is_some()), (&image.media_type, true));
    }
}

#[test]
fn a_manifest_that_cannot_be_verified_is_refused() {
    struct Any;
    impl Content for Any {
        fn bytes(&self, _: &Digest) -> Option<Bytes> {
            Some(Bytes::from_static(b"{}"))
        }
        fn size(&self, _: &Digest) -> Option<u64> {
            Some(2)
        }
    }
    let root = Descriptor::new(MediaType::OCI_INDEX, "odd:abc".parse().unwrap(), 2);
    assert_eq!(gather(&root, &Any, &Limits::default()).unwrap_err().problem(), &AddProblem::Unverifiable);
}

#[test]
fn a_layer_that_may_not_be_distributed_may_be_absent() {
    let mut memory = Memory::new();
    let config = memory.add_blob(MediaType::OCI_EMPTY, "{}");
    let elsewhere = Bytes::from_static(b"elsewhere");
    let absent = Digest::of(Algorithm::Sha256, &elsewhere);
    let with_layer_of_type = |memory: &mut Memory, media_type: &str| {
        let image = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST.as_str(),
            "config": {
                "mediaType": MediaType::OCI_EMPTY.as_str(),
                "digest": config.digest.to_string(),
                "size": config.size,
            },
            "layers": [{
                "mediaType": media_type,
                "digest": absent.to_string(),
                "size": 9,
                "urls": ["https://example.com/layer"],
            }],
        });
        memory.add_document(MediaType::OCI_MANIFEST, image.to_string())
    };
    for media_type in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ] {
        let image = with_layer_of_type(&mut memory, media_type);
        let mut server = Server::new();
        add(&mut server, &memory, &image).unwrap();
        assert_eq!(status(&server, &format!("/v2/a/blobs/{absent}")), 404);
    }
    let image = with_layer_of_type(&mut memory, "application/vnd.oci.image.layer.v1.tar");
    assert_eq!(refusal(&memory, &image).problem(), &AddProblem::Missing);

    // Where it is there all the same, it is served.
    let image = with_layer_of_type(&mut memory, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
    memory.add_blob("text/plain".parse().unwrap(), elsewhere);
    let mut server = Server::new();
    add(&mut server, &memory, &image).unwrap();
    assert_eq!(status(&server, &format!("/v2/a/blobs/{absent}")), 200);
}

#[test]
fn a_subject_may_be_absent() {
    let mut memory = Memory::new();
    let (image, _) = image(&mut memory);
    let artifact =
        memory.add_artifact(Flavour::OCI, "text/x-note".parse().unwrap(), &[b"note"], Some(&image));
    memory.remove(&image.digest);
    add(&mut Server::new(), &memory, &artifact).unwrap();
}

#[test]
fn depth_is_bounded() {
    let mut memory = Memory::new();
    let (mut root, _) = image(&mut memory);
    let limit = Limits::default().walk_depth;
    for _ in 0..limit {
        root = memory.add_index(Flavour::OCI, [&root]);
    }
    add(&mut Server::new(), &memory, &root).unwrap();
    root = memory.add_index(Flavour::OCI, [&root]);
    assert_eq!(refusal(&memory, &root).problem(), &AddProblem::TooDeep { limit });
}

#[test]
fn number_is_bounded_even_where_all_is_repeated() {
    let mut memory = Memory::new();
    let (image, _) = image(&mut memory);
    let index = memory.add_index(Flavour::OCI, [&image, &image, &image]);
    let root = memory.add_index(Flavour::OCI, [&index, &image]);
    let limits = |walk_nodes| Limits { walk_nodes, ..Limits::default() };
    gather(&root, &memory, &limits(6)).unwrap();
    let error = gather(&root, &memory, &limits(5)).unwrap_err();
    assert_eq!((error.digest(), error.problem()), (&index.digest, &AddProblem::TooMany { limit: 5 }));
}

#[test]
fn bytes_are_bounded_over_all_documents() {
    let mut memory = Memory::new();
    let (image, _) = image(&mut memory);
    let root = memory.add_index(Flavour::OCI, [&image, &image]);
    let limits = |walk_bytes| Limits { walk_bytes, ..Limits::default() };
    let limit = root.size + image.size;
    gather(&root, &memory, &limits(limit)).unwrap();
    let error = gather(&root, &memory, &limits(limit - 1)).unwrap_err();
    assert_eq!(error.problem(), &AddProblem::TooMuch { limit: limit - 1 });
}

#[test]
fn a_document_too_large_is_not_asked_for() {
    struct Huge(u64);
    impl Content for Huge {
        fn bytes(&self, _: &Digest) -> Option<Bytes> {
            panic!("the bytes were asked for")
        }
        fn size(&self, _: &Digest) -> Option<u64> {
            Some(self.0)
        }
    }
    let limit = Limits::default().manifest_bytes;
    let digest = Digest::of(Algorithm::Sha256, b"");
    let root = Descriptor::new(MediaType::OCI_INDEX, digest, limit + 1);
    assert_eq!(
        gather(&root, &Huge(limit + 1), &Limits::default()).unwrap_err().problem(),
        &AddProblem::TooLarge { limit }
    );
}

#[test]
fn a_document_is_what_its_descriptor_says() {
    let mut memory = Memory::new();
    let (image, _) = image(&mut memory);
    for flavour in [Flavour::OCI, Flavour::OCI.without_media_type()] {
        let index = memory.add_index(flavour, [&image]);
        let root = Descriptor::new(MediaType::OCI_MANIFEST, index.digest, index.size);
        let error = refusal(&memory, &root).to_string();
        assert!(error.contains("the evidence conflicts"), "{error}");
    }
}

use std::cell::Cell;

use bytes::Bytes;
use serde_json::json;

use crate::server::add::*;
use crate::server::machine::Server;
use crate::server::memory::{Flavour, Memory};
use crate::types::digest::Algorithm;
use crate::types::media_type::MediaType;
use crate::types::reference::name::Repository;

fn repository() -> Repository {
    "a".parse().unwrap()
}

fn gather_one(root: &Descriptor, content: &impl Content, limits: &Limits) -> Result<Holdings, AddError> {
    gather([root], content, limits, IfMissing::Fail).map(|gathered| gathered.holdings)
}

fn add(server: &mut Server, memory: &Memory, root: &Descriptor) -> Result<(), AddError> {
    server.add(&repository(), None, root, memory)
}

fn add_error(memory: &Memory, root: &Descriptor) -> AddError {
    let mut server = Server::new();
    let error = add(&mut server, memory, root).unwrap_err();
    assert!(server.state.repositories.is_empty(), "a failed add left something behind");
    error
}

/// Adds an image with one layer, and returns the digest of that layer too.
fn image(memory: &mut Memory) -> (Descriptor, Digest) {
    let layer: &[u8] = b"a layer";
    (memory.add_image(Flavour::OCI, None, &[layer]), Digest::of(Algorithm::Sha256, layer))
}

fn status(server: &Server, target: &str) -> u16 {
    let (head, ()) = http::Request::get(target).header("host", "x").body(()).unwrap().into_parts();
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
fn a_tag_moves_and_its_old_manifest_stays() {
    let mut memory = Memory::new();
    let (first, _) = image(&mut memory);
    let second = memory.add_image(Flavour::OCI, None, &[b"another layer"]);
    let mut server = Server::new();
    let tag = "t".parse().unwrap();
    for root in [&first, &second] {
        server.add(&repository(), Some(&tag), root, &memory).unwrap();
    }
    assert_eq!(server.state.repositories[&repository()].tags[&tag], second.digest);
    assert_eq!(status(&server, &format!("/v2/a/manifests/{}", first.digest)), 200);
}

#[test]
fn content_is_removed_from_one_repository_only() {
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
fn a_missing_blob_is_reported_with_its_document() {
    let mut memory = Memory::new();
    let (image, layer) = image(&mut memory);
    let root = memory.add_index(Flavour::OCI, [&image]);
    memory.remove(&layer);
    let error = add_error(&memory, &root);
    assert_eq!(error.problem(), &AddProblem::Missing);
    assert_eq!((error.digest(), error.document()), (&layer, Some(&image.digest)));
    assert_eq!(
        error.to_string(),
        format!("cannot add {layer} (layers[0] of {}): the content is missing", image.digest)
    );
}

#[test]
fn a_missing_manifest_is_reported_with_its_index() {
    let mut memory = Memory::new();
    let (image, _) = image(&mut memory);
    let other = memory.add_image(Flavour::OCI, None, &[b"another layer"]);
    let root = memory.add_index(Flavour::OCI, [&other, &image]);
    memory.remove(&image.digest);
    let error = add_error(&memory, &root);
    assert_eq!((error.digest(), error.document()), (&image.digest, Some(&root.digest)));
    assert!(error.to_string().contains("manifests[1]"), "{error}");
    memory.remove(&root.digest);
    let error = add_error(&memory, &root);
    assert_eq!((error.digest(), error.document()), (&root.digest, None));
}

#[test]
fn the_first_of_several_problems_is_reported() {
    let mut memory = Memory::new();
    let (first, _) = image(&mut memory);
    let second = memory.add_image(Flavour::OCI, None, &[b"another layer"]);
    let root = memory.add_index(Flavour::OCI, [&first, &second]);
    memory.remove(&first.digest);
    memory.remove(&second.digest);
    assert_eq!(add_error(&memory, &root).digest(), &first.digest);
}

#[test]
fn missing_content_is_reported_in_document_order() {
    let mut memory = Memory::new();
    let (first, layer) = image(&mut memory);
    let second = memory.add_image(Flavour::OCI, None, &[b"another layer"]);
    let note = memory.add_blob("text/x-note".parse().unwrap(), "a note");
    let root = memory.add_index(Flavour::OCI, [&first, &note, &second]);
    for missing in [&second.digest, &note.digest, &layer] {
        memory.remove(missing);
        assert_eq!(add_error(&memory, &root).digest(), missing);
    }
}

#[test]
fn a_layer_of_a_manifest_type_is_served_as_a_blob_and_not_read() {
    let mut memory = Memory::new();
    let layer = memory.add_document(MediaType::OCI_MANIFEST, "not JSON");
    let artifact = memory.add_artifact(Flavour::OCI, MediaType::OCI_MANIFEST, &[b"not JSON"], None);
    let mut server = Server::new();
    add(&mut server, &memory, &artifact).unwrap();
    assert_eq!(status(&server, &format!("/v2/a/blobs/{}", layer.digest)), 200);
    assert_eq!(status(&server, &format!("/v2/a/manifests/{}", layer.digest)), 404);
}

#[test]
fn wrong_bytes_and_wrong_sizes_are_rejected() {
    let mut memory = Memory::new();
    let (image, layer) = image(&mut memory);
    let root = memory.add_index(Flavour::OCI, [&image]);

    let mut wrong = memory.clone();
    wrong.corrupt(&layer, "longer than the layer was");
    assert_eq!(add_error(&wrong, &root).problem(), &AddProblem::Size { expected: 7, found: 25 });

    let mut wrong = memory.clone();
    let bytes = memory.bytes(&image.digest).unwrap();
    let changed: Bytes = bytes.iter().map(|b| if *b == b'a' { b'b' } else { *b }).collect();
    let found = Digest::of(Algorithm::Sha256, &changed);
    wrong.corrupt(&image.digest, changed);
    assert_eq!(add_error(&wrong, &root).problem(), &AddProblem::Digest { found });

    let mut wrong = memory.clone();
    wrong.corrupt(&image.digest, "{}");
    assert!(matches!(add_error(&wrong, &root).problem(), AddProblem::Size { found: 2, .. }));

    let broken = memory.add_document(MediaType::OCI_INDEX, "not JSON");
    assert!(matches!(add_error(&memory, &broken).problem(), AddProblem::Refused(_)));
}

#[test]
fn every_descriptor_of_a_repeated_digest_is_checked() {
    let mut memory = Memory::new();
    let (image, _) = image(&mut memory);
    let mut lying = image.clone();
    lying.size += 1;
    let root = memory.add_index(Flavour::OCI, [&image, &lying]);
    assert!(matches!(add_error(&memory, &root).problem(), AddProblem::Size { .. }));
    let root = memory.add_index(Flavour::OCI, [&image, &image]);
    add(&mut Server::new(), &memory, &root).unwrap();
}

#[test]
fn an_entry_that_is_parsed_once_keeps_its_media_type() {
    let mut memory = Memory::new();
    let (image, _) = image(&mut memory);
    let mut unread = image.clone();
    unread.media_type = "application/vnd.example.other".parse().unwrap();
    for entries in [[&image, &unread], [&unread, &image]] {
        let root = memory.add_index(Flavour::OCI, entries);
        let mut server = Server::new();
        add(&mut server, &memory, &root).unwrap();
        let held = &server.state.repositories[&repository()].manifests[&image.digest];
        assert_eq!((&held.media_type, held.bytes.is_some()), (&image.media_type, true));
    }
}

#[test]
fn an_unverifiable_manifest_is_rejected() {
    struct Any;
    impl Content for Any {
        fn bytes(&self, _: &Digest) -> Option<Bytes> {
            Some(Bytes::from_static(b"{}"))
        }
        fn size(&self, _: &Digest) -> Option<u64> {
            Some(2)
        }
    }
    let mut root = Descriptor::new(MediaType::OCI_INDEX, "odd:abc".parse().unwrap(), 2);
    assert_eq!(gather_one(&root, &Any, &Limits::default()).unwrap_err().problem(), &AddProblem::Unverifiable);

    // Blobs are not verified.
    root.media_type = "text/x-note".parse().unwrap();
    assert_eq!(gather_one(&root, &Any, &Limits::default()).unwrap().blobs[&root.digest], 2);
}

#[test]
fn a_nondistributable_layer_may_be_absent() {
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
    assert_eq!(add_error(&memory, &image).problem(), &AddProblem::Missing);

    // It is served if it is present.
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
    assert_eq!(add_error(&memory, &root).problem(), &AddProblem::TooDeep { limit });
}

#[test]
fn the_number_of_nodes_is_bounded_even_if_all_are_repeated() {
    let mut memory = Memory::new();
    let (image, _) = image(&mut memory);
    let index = memory.add_index(Flavour::OCI, [&image, &image, &image]);
    let root = memory.add_index(Flavour::OCI, [&index, &image]);
    let limits = |walk_nodes| Limits { walk_nodes, ..Limits::default() };
    gather_one(&root, &memory, &limits(6)).unwrap();
    let error = gather_one(&root, &memory, &limits(5)).unwrap_err();
    assert_eq!((error.digest(), error.problem()), (&index.digest, &AddProblem::TooMany { limit: 5 }));
}

#[test]
fn bytes_are_bounded_over_all_documents() {
    let mut memory = Memory::new();
    let (image, _) = image(&mut memory);
    let root = memory.add_index(Flavour::OCI, [&image, &image]);
    let limits = |walk_bytes| Limits { walk_bytes, ..Limits::default() };
    let limit = root.size + image.size;
    gather_one(&root, &memory, &limits(limit)).unwrap();
    let error = gather_one(&root, &memory, &limits(limit - 1)).unwrap_err();
    assert_eq!(error.problem(), &AddProblem::TooMuch { limit: limit - 1 });
}

#[test]
fn a_document_over_the_limit_is_not_read() {
    struct Huge(u64);
    impl Content for Huge {
        fn bytes(&self, _: &Digest) -> Option<Bytes> {
            panic!("the bytes were requested")
        }
        fn size(&self, _: &Digest) -> Option<u64> {
            Some(self.0)
        }
    }
    let limit = Limits::default().manifest_bytes;
    let digest = Digest::of(Algorithm::Sha256, b"");
    let root = Descriptor::new(MediaType::OCI_INDEX, digest, limit + 1);
    assert_eq!(
        gather_one(&root, &Huge(limit + 1), &Limits::default()).unwrap_err().problem(),
        &AddProblem::TooLarge { limit }
    );
}

#[test]
fn a_document_must_match_its_descriptor_s_type() {
    let mut memory = Memory::new();
    let (image, _) = image(&mut memory);
    for flavour in [Flavour::OCI, Flavour::OCI.without_media_type()] {
        let index = memory.add_index(flavour, [&image]);
        let root = Descriptor::new(MediaType::OCI_MANIFEST, index.digest, index.size);
        let error = add_error(&memory, &root).to_string();
        assert!(error.contains("conflicting document types"), "{error}");
    }
}

#[test]
fn a_sparse_tree_is_served_as_far_as_it_is_present() {
    let mut memory = Memory::new();
    let (image, layer) = image(&mut memory);
    let other = memory.add_image(Flavour::OCI, None, &[b"another layer"]);
    let note = memory.add_blob("text/x-note".parse().unwrap(), "a note");
    let elsewhere = memory.add_image(Flavour::OCI, None, &[b"elsewhere"]);
    let mut as_note = other.clone();
    as_note.media_type = note.media_type.clone();
    let root = memory.add_index(Flavour::OCI, [&image, &other, &note, &as_note]);
    for missing in [&layer, &other.digest, &note.digest, &elsewhere.digest] {
        memory.remove(missing);
    }
    let mut server = Server::new();
    let [here, gone] = ["here", "gone"].map(|tag| tag.parse().unwrap());
    let roots = [(Some(&here), &root), (Some(&gone), &elsewhere), (Some(&gone), &elsewhere)];
    let missing = server.add_sparse(&repository(), roots, &memory).unwrap();
    let digests: Vec<&Digest> = missing.iter().map(AddError::digest).collect();
    assert_eq!(digests, [&layer, &other.digest, &note.digest, &elsewhere.digest]);
    assert!(missing.iter().all(|error| *error.problem() == AddProblem::Missing));
    for (target, expected) in [
        ("manifests/here".to_owned(), 200),
        (format!("manifests/{}", image.digest), 200),
        (format!("blobs/{layer}"), 404),
        (format!("manifests/{}", other.digest), 404),
        (format!("blobs/{}", other.digest), 404),
        (format!("manifests/{}", note.digest), 404),
        (format!("blobs/{}", note.digest), 404),
        ("manifests/gone".to_owned(), 404),
    ] {
        assert_eq!(status(&server, &format!("/v2/a/{target}")), expected, "{target}");
    }
    assert_eq!(server.state.repositories[&repository()].tags.keys().collect::<Vec<_>>(), [&here]);
    // Other problems are still errors.
    memory.corrupt(&image.digest, "{}");
    let error = server.add_sparse(&repository(), [(None, &root)], &memory).unwrap_err();
    assert!(matches!(error.problem(), AddProblem::Size { found: 2, .. }));
}

/// Counts how often it is asked.
struct Counting<'a>(&'a Memory, Cell<usize>);

impl Content for Counting<'_> {
    fn bytes(&self, digest: &Digest) -> Option<Bytes> {
        self.1.set(self.1.get() + 1);
        self.0.bytes(digest)
    }

    fn size(&self, digest: &Digest) -> Option<u64> {
        self.1.set(self.1.get() + 1);
        self.0.size(digest)
    }
}

#[test]
fn shared_content_is_read_once_for_all_roots() {
    let asked = |roots: usize| {
        let mut memory = Memory::new();
        let images: Vec<Descriptor> = (0..100)
            .map(|n: u32| memory.add_image(Flavour::OCI, None, &[b"the same", &n.to_le_bytes()]))
            .collect();
        let shared = memory.add_index(Flavour::OCI, &images);
        let roots: Vec<Descriptor> = (0..roots)
            .map(|n| memory.add_index(Flavour::OCI, std::iter::repeat_n(&shared, n % 50 + 1)))
            .collect();
        let counting = Counting(&memory, Cell::new(0));
        let roots = roots.iter().map(|root| (None, root));
        assert_eq!(Server::new().add_sparse(&repository(), roots, &counting).unwrap(), []);
        counting.1.get()
    };
    let [few, many] = [50, 5000].map(asked);
    // The roots repeat after 50, and are known then.
    assert_eq!(few, many);
    // Size and bytes of each document, the size of each blob.
    assert_eq!(few, (50 + 1 + 100) * 2 + (100 + 1 + 100));
}

#[test]
fn the_limits_apply_to_what_each_root_adds() {
    let mut memory = Memory::new();
    let roots: Vec<Descriptor> = (0..20_u32)
        .map(|n| {
            let image = memory.add_image(Flavour::OCI, None, &[&n.to_le_bytes()]);
            memory.add_index(Flavour::OCI, [&image, &image])
        })
        .collect();
    let limits = Limits { walk_nodes: 3, walk_bytes: 2000, ..Limits::default() };
    let gathered = gather(&roots, &memory, &limits, IfMissing::Fail).unwrap();
    assert_eq!(gathered.holdings.manifests.len(), 40);
}

use crate::server::content::Content as _;
use crate::server::memory::{Flavour, Memory};
use crate::types::digest::Digest;
use crate::types::media_type::MediaType;
use crate::walker::check::*;

/// Returns all findings of a check of `roots`.
fn check(memory: &Memory, roots: &[&Descriptor], limits: &Limits) -> Vec<Finding> {
    let mut checker = Checker::new(limits);
    for root in roots {
        checker.add_root((*root).clone());
    }
    let mut found = Vec::new();
    loop {
        found.extend(std::iter::from_fn(|| checker.next_finding()));
        let Some(item) = checker.next_item() else { return found };
        let Descriptor { digest, size, .. } = item.descriptor.clone();
        match (memory.bytes(&digest), item.role) {
            (None, _) => checker.wrong(item, Problem::Missing, "it is missing"),
            (Some(bytes), Role::Document) => checker.document(item, bytes, None),
            (Some(bytes), Role::Blob) if bytes.len() as u64 != size => {
                checker.wrong(item, Problem::WrongSize, "it has another size");
            }
            (Some(bytes), Role::Blob) if Digest::of(digest.algorithm().unwrap(), &bytes) != digest => {
                checker.wrong(item, Problem::WrongContent, "it has other content");
            }
            (Some(_), Role::Blob) => {}
        }
    }
}

fn problems(findings: &[Finding]) -> Vec<(Problem, Digest)> {
    findings.iter().map(|finding| (finding.problem, finding.digest.clone().unwrap())).collect()
}

/// Returns the descriptors of an image's config and layers.
fn parts(memory: &Memory, image: &Descriptor) -> Vec<Descriptor> {
    let manifest = Manifest::verified(memory.bytes(&image.digest).unwrap(), image, None).unwrap();
    manifest.children().map(|(_, part)| part.to_owned()).collect()
}

#[test]
fn a_complete_tree_has_no_findings() {
    let (memory, root) = Memory::sample();
    assert_eq!(check(&memory, &[&root, &root], &Limits::default()), []);
}

#[test]
fn each_problem_is_found_once_and_the_check_continues() {
    let mut memory = Memory::new();
    let [first, second, third] = ["a", "b", "c"].map(|platform| {
        memory.add_image(Flavour::OCI, None, &[platform.as_bytes(), b"a layer that all of them share"])
    });
    let list = memory.add_index(Flavour::DOCKER, [&third]);
    let root = memory.add_index(Flavour::OCI, [&first, &list, &second, &first]);
    let [_, first_layer, shared] = &parts(&memory, &first)[..] else { panic!("two layers") };
    let [_, second_layer, _] = &parts(&memory, &second)[..] else { panic!("two layers") };

    memory.corrupt(&first_layer.digest, "x");
    memory.corrupt(&second_layer.digest, "longer");
    memory.remove(&shared.digest);
    memory.corrupt(&list.digest, "{}");
    let found = check(&memory, &[&root], &Limits::default());
    assert_eq!(
        problems(&found),
        [
            (Problem::WrongContent, first_layer.digest.clone()),
            (Problem::Missing, shared.digest.clone()),
            (Problem::WrongSize, list.digest.clone()),
            (Problem::WrongSize, second_layer.digest.clone()),
        ],
        "in document order: {found:?}"
    );
    assert_eq!(found[1].detail, format!("layers[1] of {}: it is missing", first.digest));
    assert!(found[2].detail.starts_with(&format!("manifests[1] of {}: ", root.digest)), "{found:?}");
}

#[test]
fn a_document_with_the_right_digest_may_still_be_invalid() {
    let mut memory = Memory::new();
    let ambiguous = memory
        .add_document(MediaType::OCI_INDEX, r#"{"schemaVersion":2,"manifests":[],"config":{},"layers":[]}"#);
    let whole = memory.add_image(Flavour::OCI, None, &[]);
    let mut claimed = whole.clone();
    claimed.media_type = MediaType::OCI_INDEX;
    let root = memory.add_index(Flavour::OCI, [&ambiguous, &whole, &claimed]);
    let found = check(&memory, &[&root], &Limits::default());
    assert_eq!(
        problems(&found),
        [(Problem::Malformed, ambiguous.digest), (Problem::Malformed, whole.digest)],
        "an image that another entry declares as an index is invalid there: {found:?}"
    );
}

#[test]
fn conflicting_descriptors_are_a_contradiction() {
    let mut memory = Memory::new();
    let image = memory.add_image(Flavour::OCI, None, &[]);
    let mut larger = image.clone();
    larger.size += 1;
    let mut lying = memory.add_image(Flavour::OCI, None, &[b"x"]);
    lying.data = Some(Bytes::from_static(b"not it"));
    let root = memory.add_index(Flavour::OCI, [&image, &larger, &larger, &lying]);
    let found = check(&memory, &[&root], &Limits::default());
    let [(Problem::Contradiction, one), (Problem::Contradiction, other)] = &problems(&found)[..] else {
        panic!("{found:?}")
    };
    assert_eq!((one, other), (&image.digest, &lying.digest));
    assert!(
        found[0]
            .detail
            .contains(&format!("{} bytes, but another descriptor says {}", larger.size, image.size))
    );
}

#[test]
fn an_unknown_algorithm_cannot_be_verified() {
    let mut memory = Memory::new();
    let odd = Descriptor::new(MediaType::OCI_MANIFEST, "md5:d41d8cd98f".parse().unwrap(), 3);
    let root = memory.add_index(Flavour::OCI, [&odd]);
    let found = check(&memory, &[&root], &Limits::default());
    assert_eq!(problems(&found), [(Problem::Unverifiable, odd.digest)]);
}

#[test]
fn a_nondistributable_layer_may_be_missing_but_is_verified_if_present() {
    let mut memory = Memory::new();
    let config = memory.add_blob(MediaType::OCI_EMPTY, "{}");
    let layer: MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip".parse().unwrap();
    let layer = memory.add_blob(layer, "elsewhere");
    let object = |d: &Descriptor| crate::types::descriptor::write::descriptor_object(d);
    let image =
        serde_json::json!({ "schemaVersion": 2, "config": object(&config), "layers": [object(&layer)] });
    let image = memory.add_document(MediaType::OCI_MANIFEST, image.to_string());
    memory.corrupt(&layer.digest, "elsewhat?");
    assert_eq!(
        problems(&check(&memory, &[&image], &Limits::default())),
        [(Problem::WrongContent, layer.digest.clone())]
    );
    memory.remove(&layer.digest);
    assert_eq!(check(&memory, &[&image], &Limits::default()), []);
}

#[test]
fn a_root_of_generic_type_is_a_document_if_it_parses_as_one() {
    let mut memory = Memory::new();
    let mut index = memory.add_index(Flavour::OCI.without_media_type(), []);
    index.media_type = MediaType::OCTET_STREAM;
    let plain = memory.add_blob(MediaType::OCTET_STREAM, "arbitrary bytes");
    let mut image = memory.add_image(Flavour::OCI, None, &[b"x"]);
    let [_, layer] = &parts(&memory, &image)[..] else { panic!("one layer") };
    memory.remove(&layer.digest);
    image.media_type = MediaType::OCTET_STREAM;
    let found = check(&memory, &[&index, &plain, &image], &Limits::default());
    assert_eq!(problems(&found), [(Problem::Missing, layer.digest.clone())]);
}

#[test]
fn content_over_a_limit_is_reported_and_not_read() {
    let mut memory = Memory::new();
    let mut nested = memory.add_image(Flavour::OCI, None, &[]);
    for _ in 0..4 {
        nested = memory.add_index(Flavour::OCI, [&nested]);
    }
    let limited = |set: &dyn Fn(&mut Limits)| {
        let mut limits = Limits::default();
        set(&mut limits);
        let found = check(&memory, &[&nested], &limits);
        assert!(matches!(&found[..], [Finding { problem: Problem::Limit, .. }]), "{found:?}");
        found[0].detail.clone()
    };
    assert!(limited(&|limits| limits.walk_depth = 3).contains("3 levels"));
    assert!(limited(&|limits| limits.manifest_bytes = 64).contains("more than 64 bytes"));
    assert!(limited(&|limits| limits.walk_bytes = 512).contains("512 bytes in all"));
    assert!(limited(&|limits| limits.walk_nodes = 4).contains("more than 4 contents"));
}

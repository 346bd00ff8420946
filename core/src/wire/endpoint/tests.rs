use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parse(target: &str) -> Result<Endpoint, InvalidEndpoint> {
    Endpoint::parse(&target.parse().unwrap())
}

fn parsed<T: FromStr<Err: fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn by_tag(repository: &str, tag: &str) -> Endpoint {
    Endpoint::Manifest(parsed(repository), TagOrDigest::Tag(parsed(tag)), Vec::new(), None)
}

#[test]
fn every_endpoint_has_the_path_of_the_specification() {
    let (name, other): (Repository, Repository) = (parsed("a/b"), parsed("c/d"));
    let text = format!("sha256:{HEX}");
    let digest: Digest = parsed(&text);
    let by_digest = |tags: &[&str]| {
        let tags = tags.iter().map(|tag| parsed(tag)).collect();
        Endpoint::Manifest(name.clone(), TagOrDigest::Digest(digest.clone()), tags, None)
    };
    let uploads = |begin| Endpoint::Uploads(name.clone(), begin);
    let upload = |closing| Endpoint::Upload(name.clone(), parsed("1-f_2"), closing);
    let tags = |n, last: Option<&str>| Endpoint::Tags(name.clone(), Page { n, last: last.map(parsed) });
    let referrers = |filter| Endpoint::Referrers(name.clone(), digest.clone(), filter, None);
    for (endpoint, path) in [
        (Endpoint::Version, "/v2/".to_owned()),
        (Endpoint::Blob(name.clone(), digest.clone()), format!("/v2/a/b/blobs/{text}")),
        (by_tag("a/b", "1.0"), "/v2/a/b/manifests/1.0".to_owned()),
        (by_digest(&[]), format!("/v2/a/b/manifests/{text}")),
        (by_digest(&["x", "y"]), format!("/v2/a/b/manifests/{text}?tag=x&tag=y")),
        (uploads(Begin::Session(None)), "/v2/a/b/blobs/uploads/".to_owned()),
        (
            uploads(Begin::Session(Some(Algorithm::Sha512))),
            "/v2/a/b/blobs/uploads/?digest-algorithm=sha512".to_owned(),
        ),
        (uploads(Begin::Whole(digest.clone())), format!("/v2/a/b/blobs/uploads/?digest={text}")),
        (uploads(Begin::Mount(digest.clone(), None)), format!("/v2/a/b/blobs/uploads/?mount={text}")),
        (
            uploads(Begin::Mount(digest.clone(), Some(other))),
            format!("/v2/a/b/blobs/uploads/?mount={text}&from=c/d"),
        ),
        (upload(None), "/v2/a/b/blobs/uploads/1-f_2".to_owned()),
        (upload(Some(digest.clone())), format!("/v2/a/b/blobs/uploads/1-f_2?digest={text}")),
        (tags(None, None), "/v2/a/b/tags/list".to_owned()),
        (tags(Some(0), None), "/v2/a/b/tags/list?n=0".to_owned()),
        (tags(Some(3), Some("v1")), "/v2/a/b/tags/list?n=3&last=v1".to_owned()),
        (referrers(None), format!("/v2/a/b/referrers/{text}")),
        (
            referrers(Some(parsed("application/vnd.x+json"))),
            format!("/v2/a/b/referrers/{text}?artifactType=application/vnd.x%2Bjson"),
        ),
        (Endpoint::Catalog(Page::default()), "/v2/_catalog".to_owned()),
        (
            Endpoint::Catalog(Page { n: Some(9), last: Some(parsed("a/b")) }),
            "/v2/_catalog?n=9&last=a/b".to_owned(),
        ),
    ] {
        assert_eq!(endpoint.path_and_query(), path);
        assert_eq!(parse(&path), Ok(endpoint), "{path}");
    }
}

#[test]
fn a_repository_may_contain_slashes_and_the_words_of_endpoints() {
    assert_eq!(parse("/v2/a/b/c/manifests/t"), Ok(by_tag("a/b/c", "t")));
    assert_eq!(parse("/v2/a/manifests/manifests/t"), Ok(by_tag("a/manifests", "t")));
    assert_eq!(parse("/v2/tags/list/manifests/list"), Ok(by_tag("tags/list", "list")));
    assert_eq!(parse("/v2/a/blobs/uploads/manifests/t"), Ok(by_tag("a/blobs/uploads", "t")));
    let tags = Endpoint::Tags(parsed("a/manifests"), Page::default());
    assert_eq!(parse("/v2/a/manifests/tags/list"), Ok(tags));
    let uploads = Endpoint::Uploads(parsed("a/blobs/uploads"), Begin::Session(None));
    assert_eq!(parse("/v2/a/blobs/uploads/blobs/uploads/"), Ok(uploads.clone()));
    assert_eq!(parse("/v2/a/blobs/uploads/blobs/uploads"), Ok(uploads));
}

#[test]
fn percent_encoding_is_decoded_once_before_parsing() {
    assert_eq!(parse("/v2/a%2Fb/%6danifests/t"), Ok(by_tag("a/b", "t")));
    let blob = Endpoint::Blob(parsed("a"), parsed(&format!("sha256:{HEX}")));
    assert_eq!(parse(&format!("/v2/a/blobs/sha256%3a{HEX}")), Ok(blob));
    assert!(matches!(parse("/v2/a%252Fb/manifests/t"), Err(InvalidEndpoint::Repository(_))));
    for broken in ["/v2/a/manifests/%", "/v2/a/manifests/%4", "/v2/a/manifests/%zz", "/v2/%ff/manifests/t"] {
        assert_eq!(parse(broken), Err(InvalidEndpoint::PathEncoding), "{broken}");
    }
    assert_eq!(parse("/v2/a/tags/list?last=%zz"), Err(InvalidEndpoint::QueryEncoding));
}

#[test]
fn parameters_may_be_in_any_order_and_unknown_ones_are_ignored() {
    let digest = parsed(&format!("sha256:{HEX}"));
    let mount = Endpoint::Uploads(parsed("a"), Begin::Mount(digest, Some(parsed("c/d"))));
    let target = format!("/v2/a/blobs/uploads/?origin=x.y&from=c%2Fd&mount=sha256%3A{HEX}");
    assert_eq!(parse(&target), Ok(mount));
    let filtered = Endpoint::Referrers(
        parsed("a"),
        parsed(&format!("sha256:{HEX}")),
        Some(parsed("application/vnd.x+json")),
        None,
    );
    // A plus sign is literal. It does not mean a space, which no media type contains.
    for text in ["application%2Fvnd.x%2Bjson", "application/vnd.x+json"] {
        assert_eq!(parse(&format!("/v2/a/referrers/sha256:{HEX}?artifactType={text}")), Ok(filtered.clone()));
    }
}

#[test]
fn a_page_size_is_a_decimal_number_and_saturates() {
    let page = |n, last: Option<&str>| Ok(Endpoint::Tags(parsed("a"), Page { n, last: last.map(parsed) }));
    assert_eq!(parse("/v2/a/tags/list?last=v%31&x"), page(None, Some("v1")));
    assert_eq!(parse("/v2/a/tags/list?n=0&last="), page(Some(0), None));
    assert_eq!(parse("/v2/a/tags/list?n=99999999999999999999999"), page(Some(usize::MAX), None));
    for wrong in ["-1", "", "+1", "x"] {
        assert_eq!(parse(&format!("/v2/a/tags/list?n={wrong}")), Err(InvalidEndpoint::Number("tags")));
        assert_eq!(parse(&format!("/v2/_catalog?n={wrong}")), Err(InvalidEndpoint::Number("repositories")));
    }
}

#[test]
fn an_invalid_name_is_rejected_with_its_kind() {
    let long = format!("/v2/a/blobs/uploads/{}", "x".repeat(129));
    assert!(parse(&long[..long.len() - 1]).is_ok());
    for (target, is_kind) in [
        (
            "/v2/A/blobs/uploads/",
            (|e| matches!(e, InvalidEndpoint::Repository(_))) as fn(&InvalidEndpoint) -> bool,
        ),
        ("/v2/_catalog?last=A", |e| matches!(e, InvalidEndpoint::Repository(_))),
        ("/v2/a/blobs/uploads/?mount=sha256:0", |e| matches!(e, InvalidEndpoint::Digest(_))),
        ("/v2/a/blobs/uploads/?digest=", |e| matches!(e, InvalidEndpoint::Digest(_))),
        ("/v2/a/blobs/uploads/u?digest=x", |e| matches!(e, InvalidEndpoint::Digest(_))),
        ("/v2/a/blobs/uploads?digest=", |e| matches!(e, InvalidEndpoint::Digest(_))),
        ("/v2/a/blobs/upload", |e| matches!(e, InvalidEndpoint::Digest(_))),
        ("/v2/a/blobs/uploads/?digest-algorithm=md5", |e| *e == InvalidEndpoint::Algorithm),
        ("/v2/a/blobs/uploads/.", |e| *e == InvalidEndpoint::UploadId),
        (&long, |e| *e == InvalidEndpoint::UploadId),
        ("/v2/a/manifests/.t", |e| matches!(e, InvalidEndpoint::Tag(_))),
        ("/v2/a/manifests/t?tag=x&tag=.t", |e| matches!(e, InvalidEndpoint::TagParameter(_))),
        ("/v2/a/uploads/u", |e| *e == InvalidEndpoint::Unknown),
        ("/v2/blobs/uploads/", |e| *e == InvalidEndpoint::Unknown),
        ("/v2/_catalog/", |e| *e == InvalidEndpoint::Unknown),
    ] {
        let refused = parse(target).unwrap_err();
        assert!(is_kind(&refused), "{target}: {refused:?}");
    }
}

#[test]
fn a_url_has_at_most_ten_tags() {
    let tags = (0..1000).map(|n| parsed(&format!("{n:0128}"))).collect();
    let url = Endpoint::Manifest(parsed("a"), TagOrDigest::Tag(parsed("t")), tags, None).path_and_query();
    assert_eq!(url.matches("tag=").count(), 10);
}

fn read<T: FromStr<Err: fmt::Debug> + fmt::Debug>(pattern: &'static str) -> impl Strategy<Value = T> + Clone {
    pattern.prop_map(|text| parsed(&text))
}

fn repository() -> impl Strategy<Value = Repository> + Clone {
    read(
        "[a-z0-9]{1,4}(([._]|__|-{1,3})[a-z0-9]{1,4}){0,2}\
         (/(manifests|blobs|uploads|tags|list|[a-z]{1,4})){0,3}",
    )
}

fn tag() -> impl Strategy<Value = Tag> + Clone {
    read("[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}")
}

fn digest() -> impl Strategy<Value = Digest> + Clone {
    prop_oneof![read("sha256:[0-9a-f]{64}"), read("sha512:[0-9a-f]{128}"), read("x\\+y:[A-Za-z0-9=_-]{1,20}")]
}

fn page<T: fmt::Debug>(last: impl Strategy<Value = T>) -> impl Strategy<Value = Page<T>> {
    (option::of(any::<usize>()), option::of(last)).prop_map(|(n, last)| Page { n, last })
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let name = prop_oneof![tag().prop_map(TagOrDigest::Tag), digest().prop_map(TagOrDigest::Digest)];
    let algorithm = prop::sample::select(&[
        None,
        Some(Algorithm::Sha256),
        Some(Algorithm::Sha384),
        Some(Algorithm::Sha512),
    ]);
    let begin = prop_oneof![
        algorithm.prop_map(Begin::Session),
        digest().prop_map(Begin::Whole),
        (digest(), option::of(repository())).prop_map(|(mount, from)| Begin::Mount(mount, from)),
    ];
    let media_type = read("[a-z0-9][a-z0-9!#$&^_.+-]{0,20}/[a-z0-9][a-z0-9!#$&^_.+-]{0,20}");
    prop_oneof![
        Just(Endpoint::Version),
        (repository(), digest()).prop_map(|(name, digest)| Endpoint::Blob(name, digest)),
        (repository(), name, vec(tag(), 0..Endpoint::MAX_TAGS), option::of(digest()))
            .prop_map(|(name, tag, tags, digest)| Endpoint::Manifest(name, tag, tags, digest)),
        (repository(), begin).prop_map(|(name, begin)| Endpoint::Uploads(name, begin)),
        (repository(), read("[A-Za-z0-9_-]{1,128}"), option::of(digest()))
            .prop_map(|(name, id, digest)| Endpoint::Upload(name, id, digest)),
        (repository(), page(tag())).prop_map(|(name, page)| Endpoint::Tags(name, page)),
        (repository(), digest(), option::of(media_type), option::of(digest()))
            .prop_map(|(name, subject, filter, last)| Endpoint::Referrers(name, subject, filter, last)),
        page(repository()).prop_map(Endpoint::Catalog),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn built_targets_parse_back(endpoint in endpoint()) {
        let target = endpoint.path_and_query();
        prop_assert_eq!(parse(&target), Ok(endpoint), "{}", target);
    }

    #[test]
    fn arbitrary_targets_never_panic(
        text in "\\PC{0,80}",
        near in "/v2/([a-z%/_.-]{0,8}/)?(blobs/uploads/|blobs/|manifests/|tags/list|referrers/|_catalog)\
                 [a-z0-9:%._-]{0,12}\
                 (\\?((n|last|tag|mount|from|digest|digest-algorithm|artifactType)?=?[a-z0-9%:/]{0,6}&?){0,3})?",
    ) {
        for text in [&text, &near] {
            let Ok(target) = text.parse::<Uri>() else { continue };
            if let Ok(endpoint) = Endpoint::parse(&target) {
                prop_assert_eq!(parse(&endpoint.path_and_query()), Ok(endpoint));
            }
        }
    }
}

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::limits::Limits;
use crate::wire::list::pages::Pages;
use crate::wire::list::referrers::{Referrer, ReferrersPage, fallback_tag, is_fallback_tag};

const MAX: u64 = 100;

fn texts<T: Listed>(names: &[T]) -> Vec<&str> {
    names.iter().map(Listed::as_str).collect()
}

#[test]
fn entries_that_are_not_tags_are_left_out_and_counted() {
    for (body, tags, left_out) in [
        (r#"{"name":"a","tags":["1.0","latest","_x"]}"#, &["1.0", "latest", "_x"][..], 0),
        (r#"{"tags":null,"name":"a"}"#, &[], 0),
        (r#"{"name":"a","tags":[]}"#, &[], 0),
        (r#"{"name":"a"}"#, &[], 0),
        (" {}\n", &[], 0),
        (r#"{"tags":["a","b","a"]}"#, &["a", "b", "a"], 0),
        (r#"{"tags":["","a b",".a","sha256:e3b0","\u0061","\u00e9"]}"#, &["a"], 5),
        (r#"{"tags":["a",null,true,-1,1,1.5,1e99,["b"],{"c":["d",{}]},"e"]}"#, &["a", "e"], 8),
        (r#"{"\u0074ags":["a"],"Tags":["b"],"repositories":["c"]}"#, &["a"], 0),
        (r#"{"tags":["a","."],"x":{"tags":["b"]},"tags":["c"]}"#, &["c"], 0),
        (r#"{"tags":["a"],"tags":null}"#, &[], 0),
    ] {
        let page = NamesPage::<Tag>::parse(body.as_bytes(), MAX).unwrap_or_else(|e| panic!("{body}: {e}"));
        assert_eq!((texts(&page.names).as_slice(), page.left_out), (tags, left_out), "{body}");
    }
}

#[test]
fn a_catalog_lists_repositories() {
    let body = br#"{"repositories":["a","team/app","Team/App","a//b",7],"tags":["x"]}"#;
    let page = NamesPage::<Repository>::parse(body, MAX).unwrap();
    assert_eq!((texts(&page.names), page.left_out), (vec!["a", "team/app"], 3));
}

#[test]
fn a_body_that_is_not_a_list_is_an_error_that_says_why() {
    let long = format!(r#"{{"tags":"{}"}}"#, "x".repeat(10_000));
    for (body, part) in [
        (&b""[..], "it is not valid JSON: EOF while parsing"),
        (b"tags", "it is not valid JSON: expected"),
        (b"{\"tags\":[\"a\"", "it is not valid JSON: EOF while parsing a list"),
        (b"{\"tags\":[\"\xff\"]}", "it is not valid JSON"),
        (b"{\"tags\":[]} {}", "it is not valid JSON: trailing characters"),
        (b"\n<!DOCTYPE html>", "returned a web page"),
        (b"[]", "invalid type: sequence, expected an object"),
        (b"null", "invalid type: null, expected an object"),
        (b"{\"tags\":{\"a\":1}}", "invalid type: map, expected an array of tags"),
        (b"{\"tags\":7}", "expected an array of tags"),
        (long.as_bytes(), "expected an array of tags"),
    ] {
        let shown = String::from_utf8_lossy(body);
        let error = NamesPage::<Tag>::parse(body, MAX).unwrap_err().to_string();
        assert!(error.starts_with("the list of tags is unusable: "), "{shown:.100}: {error}");
        assert!(error.contains(part), "{shown:.100}: {error}");
        assert!(error.len() < 300, "{shown:.100}: {error}");
    }
    let error = NamesPage::<Repository>::parse(b"{\"repositories\":1}", MAX).unwrap_err().to_string();
    assert!(error.starts_with("the list of repositories is unusable: "), "{error}");
    // Deep nesting.
    let deep = format!(r#"{{"x":{0},"tags":[{0}]}}"#, "[".repeat(1 << 20));
    assert!(NamesPage::<Tag>::parse(deep.as_bytes(), MAX).is_err());
}

#[test]
fn the_entries_of_a_page_are_limited() {
    for (body, is_accepted) in [
        (r#"{"tags":["a","b","c"]}"#, true),
        (r#"{"tags":["a","b","c","d"]}"#, false),
        (r#"{"tags":["a",1,2,3]}"#, false),
        (r#"{"tags":["a","a","a","a"]}"#, false),
        (r#"{"tags":["a","b"],"tags":["c","d"]}"#, false),
    ] {
        let result = NamesPage::<Tag>::parse(body.as_bytes(), 3);
        let error = result.err().map(|error| error.to_string());
        let expected = (!is_accepted).then(|| "the list exceeds the limit of 3 entries".to_owned());
        assert_eq!(error, expected, "{body}");
    }
}

fn url(text: &str) -> Uri {
    format!("https://r.example/v2/a/tags/list{text}").parse().unwrap()
}

fn limited(pages: u32, entries: u64) -> Pages {
    pages_of(Tag::KEY, pages, entries)
}

fn pages_of(of: &'static str, pages: u32, entries: u64) -> Pages {
    let limits = Limits { list_pages: pages, list_entries: entries, ..Limits::default() };
    Pages::new(of, &url(""), &limits)
}

fn page(body: &str) -> NamesPage<Tag> {
    let quoted: Vec<_> = body.split_whitespace().map(|tag| format!("\"{tag}\"")).collect();
    NamesPage::parse(format!("{{\"tags\":[{}]}}", quoted.join(",")).as_bytes(), MAX).unwrap()
}

#[test]
fn an_entry_is_reported_once_in_any_order() {
    let mut pages = limited(9, 9);
    for (n, (body, new)) in
        [("c a", &["c", "a"][..]), ("a b c b", &["b"]), ("? d", &["d"]), ("d", &[])].into_iter().enumerate()
    {
        let (names, taken) = pages.take(page(body));
        taken.unwrap();
        assert_eq!(texts(&names), new, "{body}");
        if n < 3 {
            pages.turn(&url(&format!("?last={n}"))).unwrap();
        }
    }
    assert_eq!(pages.left_out(), 1);
}

#[test]
fn a_list_that_leads_nowhere_is_an_error() {
    const LOOP: &str = "the list of tags is unusable: it links to itself: the next page was read before";
    const NO_NEWS: &str = "the list of tags is unusable: a page has a next page, but no new entry";
    // The pages that are read, each with its link to the next, and the error of the last link.
    for (steps, expected) in [
        (&[("a", "")][..], Some(LOOP)),
        (&[("a", "?last=a"), ("b", "")], Some(LOOP)),
        (&[("a", "?last=a"), ("b", "?last=a")], Some(LOOP)),
        (&[("a", "?last=a"), ("a", "?last=b")], Some(NO_NEWS)),
        (&[("", "?last=a")], Some(NO_NEWS)),
        (&[("a", "?last=a"), ("", "?last=b")], Some(NO_NEWS)),
        (&[("a", "?last=a"), ("a b", "?last=b"), ("b a", "?last=c")], Some(NO_NEWS)),
        (&[("a", "?last=a"), ("?", "?last=b"), ("b", "?last=c")], None),
        (&[("a", "?last=a"), ("b", "?last=b"), ("c", "?last=c")], None),
        (
            &[("a", "?1"), ("b", "?2"), ("c", "?3"), ("d", "?4")],
            Some("the list exceeds the limit of 4 pages"),
        ),
    ] {
        let mut pages = limited(4, 9);
        for (at, (body, next)) in steps.iter().enumerate() {
            pages.take(page(body)).1.unwrap();
            let error = pages.turn(&url(next)).err().map(|error| error.to_string());
            let is_last = at + 1 == steps.len();
            assert_eq!(error.as_deref(), expected.filter(|_| is_last), "{steps:?}, step {at}");
        }
    }
}

#[test]
fn the_entries_of_all_pages_are_limited() {
    for (bodies, is_accepted, last) in [
        (["a b", "c"], true, &["c"][..]),
        (["a b", "a b c"], true, &["c"]),
        (["a b", "a ?"], true, &[]),
        (["a b", "c d"], false, &["c"]),
        (["a b", "c ?"], false, &["c"]),
        (["a b", "? ?"], false, &[]),
    ] {
        let mut pages = limited(9, 3);
        pages.take(page(bodies[0])).1.unwrap();
        let (names, taken) = pages.take(page(bodies[1]));
        assert_eq!(texts(&names), last, "{bodies:?}");
        let error = taken.err().map(|error| error.to_string());
        let expected = (!is_accepted).then(|| "the list exceeds the limit of 3 entries".to_owned());
        assert_eq!(error, expected, "{bodies:?}");
    }
}

/// The digest of the nth referrer.
fn digest(n: u8) -> String {
    format!("sha256:{}", format!("{n:02x}").repeat(32))
}

/// An index of entries, of which each is a number and further properties.
fn index(entries: &[(u8, &str)]) -> String {
    let entry = |(n, more): &(u8, &str)| {
        let digest = digest(*n);
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":7{more}}}"#
        )
    };
    let entries: Vec<_> = entries.iter().map(entry).collect();
    let media_type = "application/vnd.oci.image.index.v1+json";
    format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","manifests":[{}]}}"#, entries.join(","))
}

fn headers(filters: &[&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/vnd.oci.image.index.v1+json"));
    for value in filters {
        headers.append("oci-filters-applied", HeaderValue::from_static(value));
    }
    headers
}

fn select(
    body: String,
    headers: &HeaderMap,
    pages: &mut Pages,
    wanted: Option<&str>,
) -> Result<Vec<Referrer>, Cause> {
    let page = ReferrersPage::parse(body.into(), headers)?;
    let wanted = wanted.map(|text| text.parse().unwrap());
    Ok(page.select(pages, wanted.as_ref()).collect::<Result<_, _>>()?)
}

#[test]
fn a_referrer_has_its_artifact_type_and_all_annotations() {
    let body = index(&[
        (
            1,
            r#","artifactType":"Application/vnd.example.sbom","annotations":{"b":"2","\u0061":"\n1","org.opencontainers.image.ref.name":"v1","n":null,"io.containerd.image.name":"x"}"#,
        ),
        (
            2,
            r#","artifactType":"","annotations":null,"platform":{"os":"linux","architecture":"amd64"},"data":"aGV5""#,
        ),
        (3, r#","annotations":{}"#),
    ]);
    let found = select(body, &headers(&[]), &mut pages_of(ReferrersPage::OF, 9, 9), None).unwrap();
    let annotations: Vec<Vec<_>> = found
        .iter()
        .map(|referrer| referrer.annotations.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect())
        .collect();
    let first = [
        ("a", "\n1"),
        ("b", "2"),
        ("io.containerd.image.name", "x"),
        ("org.opencontainers.image.ref.name", "v1"),
    ];
    assert_eq!(annotations, [&first[..], &[], &[]]);
    let types: Vec<_> =
        found.iter().map(|r| r.descriptor.artifact_type.as_ref().map(|t| t.as_str().to_owned())).collect();
    assert_eq!(types, [Some("application/vnd.example.sbom".to_owned()), None, None]);
    assert_eq!(found[1].descriptor.data, Some(Bytes::from("hey")));
    assert_eq!(
        found.iter().map(|r| r.descriptor.digest.to_string()).collect::<Vec<_>>(),
        [1, 2, 3].map(digest)
    );
}

#[test]
fn referrers_are_filtered_unless_the_registry_has_done_so() {
    const MINE: &str = r#","artifactType":"a/mine""#;
    const OTHER: &str = r#","artifactType":"a/other""#;
    for (filters, wanted, expected) in [
        (&[][..], None, &[1, 2, 3][..]),
        (&[], Some("a/mine"), &[1]),
        (&[], Some("A/Mine"), &[1]),
        (&[], Some("a/none"), &[]),
        (&["artifactType"], Some("a/mine"), &[1, 2, 3]),
        (&["annotations , ARTIFACTTYPE"], Some("a/mine"), &[1, 2, 3]),
        (&["annotations", "artifacttype"], Some("a/mine"), &[1, 2, 3]),
        (&["annotations"], Some("a/mine"), &[1]),
        (&["artifactTypes"], Some("a/mine"), &[1]),
        (&[""], Some("a/mine"), &[1]),
    ] {
        let body = index(&[(1, MINE), (2, OTHER), (3, "")]);
        let mut pages = pages_of(ReferrersPage::OF, 9, 9);
        let found = select(body, &headers(filters), &mut pages, wanted).unwrap();
        let found: Vec<_> = found.iter().map(|r| r.descriptor.digest.to_string()).collect();
        let expected: Vec<_> = expected.iter().map(|n| digest(*n)).collect();
        assert_eq!(found, expected, "{filters:?} {wanted:?}");
        // A page without the type wanted is still progress.
        pages.turn(&url("?2")).unwrap();
        let error = pages.turn(&url("?2")).unwrap_err().to_string();
        assert!(error.starts_with("the list of referrers is unusable: "), "{error}");
    }
}

#[test]
fn the_fallback_tag_is_that_of_the_specification() {
    let long = format!("alg+{}:{}", "a".repeat(40), "E=".repeat(40));
    for (digest, expected) in [
        (format!("sha256:{}", "a".repeat(64)), format!("sha256-{}", "a".repeat(64))),
        (format!("sha512:{}", "b".repeat(128)), format!("sha512-{}", "b".repeat(64))),
        (long, format!("alg-{}-{}", "a".repeat(28), "E-".repeat(32))),
    ] {
        let tag = fallback_tag(&digest.parse().unwrap());
        assert_eq!(tag.as_str(), expected);
        assert_eq!(is_fallback_tag(&tag), digest.starts_with("sha"), "{tag}");
    }
    let signature = format!("sha256-{}.sig", "a".repeat(64));
    let upper = format!("sha256-{}", "A".repeat(64));
    for other in ["1.0", "sha256-abc", "sha256", &signature, &upper] {
        assert!(!is_fallback_tag(&other.parse().unwrap()), "{other}");
    }
}

#[test]
fn a_referrer_is_reported_once_and_counted() {
    let mut pages = pages_of(ReferrersPage::OF, 9, 3);
    let mut found = |entries: &[(u8, &str)]| select(index(entries), &headers(&[]), &mut pages, None);
    assert_eq!(found(&[(1, ""), (2, ""), (1, "")]).unwrap().len(), 2);
    assert_eq!(found(&[(2, ""), (3, "")]).unwrap().len(), 1);
    let error = found(&[(4, "")]).unwrap_err().to_string();
    assert_eq!(error, "the list exceeds the limit of 3 entries");
}

#[test]
fn an_invalid_list_of_referrers_is_an_error_that_names_the_place() {
    let valid = index(&[(1, "")]);
    for (body, expected) in [
        (valid.clone(), None),
        (valid.replace(r#""size":7"#, r#""size":-7"#), Some("at `manifests[0].size`")),
        (valid.replace("sha256", "sha257!"), Some("at `manifests[0].digest`")),
        (index(&[(1, ""), (2, r#","artifactType":"x""#)]), Some("at `manifests[1].artifactType`")),
        (index(&[(1, r#","annotations":{"a":7}"#)]), Some("at `manifests[0].annotations`")),
        (index(&[(1, r#","annotations":["a"]"#)]), Some("at `manifests[0].annotations`")),
        (
            index(&[(1, r#","annotations":{"a":"1","\u0061":"1"}"#)]),
            Some("has the key `a` twice at `manifests[0].annotations`"),
        ),
        (index(&[(1, r#","annotations":{"a":null,"a":"1"}"#)]), Some("has the key `a` twice")),
        (index(&[]), None),
        (r#"{"schemaVersion":2,"manifests":null}"#.to_owned(), None),
        (r#"{"schemaVersion":2}"#.to_owned(), Some("has no `manifests`")),
        (r#"{"manifests":[]}"#.to_owned(), Some("schemaVersion is missing")),
        (r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.to_owned(), Some("ambiguous")),
        (r#"{"tags":[]}"#.to_owned(), Some("schemaVersion is missing")),
        ("<html>".to_owned(), Some("web page")),
        (String::new(), Some("not valid JSON")),
    ] {
        let error = ReferrersPage::parse(body.clone().into(), &headers(&[])).err();
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        match expected {
            None => assert_eq!(error, "", "{body}"),
            Some(part) => assert!(error.contains(part), "{body}: {error:?} lacks {part:?}"),
        }
    }
    let image = r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"x:y","size":1},"layers":[]}"#;
    let error = ReferrersPage::parse(image.into(), &HeaderMap::new()).unwrap_err().to_string();
    assert!(error.contains("not an index"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in vec(any::<u8>(), 0..60),
        near in "\\{\"(tags|manifests|repositories)\":\\[?([\"a{\\[\\]},:1\\\\]|null|\"annotations\":\\{){0,20}\\]?\\}?",
    ) {
        for body in [bytes, near.into_bytes()] {
            let _ = NamesPage::<Tag>::parse(&body, 3);
            let _ = NamesPage::<Repository>::parse(&body, 3);
            let _ = ReferrersPage::parse(body.into(), &HeaderMap::new());
        }
    }

    #[test]
    fn followed_pages_yield_each_valid_name_once(
        bodies in vec(vec(prop_oneof!["[a-c._-][a-c]?", "\\PC{0,4}"], 0..6), 1..6),
    ) {
        let mut pages = limited(9, MAX);
        let (mut found, mut expected, mut left_out) = (Vec::new(), Vec::new(), 0);
        for body in &bodies {
            let json = serde_json::json!({ "name": "a", "tags": body }).to_string();
            let page = NamesPage::<Tag>::parse(json.as_bytes(), MAX).unwrap();
            let (names, taken) = pages.take(page);
            taken.unwrap();
            found.extend(names.iter().map(ToString::to_string));
            for text in body {
                if text.parse::<Tag>().is_err() {
                    left_out += 1;
                } else if !expected.contains(text) {
                    expected.push(text.clone());
                }
            }
        }
        prop_assert_eq!(found, expected);
        prop_assert_eq!(pages.left_out(), left_out);
    }

    #[test]
    fn annotations_are_read_as_they_were_written(
        annotations in btree_map("\\PC{0,6}", "\\PC{0,6}", 0..6),
        known in any::<bool>(),
    ) {
        let mut annotations = annotations;
        if known {
            annotations.insert("org.opencontainers.image.ref.name".to_owned(), "v\"1".to_owned());
        }
        let more = format!(",\"annotations\":{}", serde_json::json!(annotations));
        let body = index(&[(1, &more), (2, "")]);
        let found = select(body, &headers(&[]), &mut pages_of(ReferrersPage::OF, 9, 9), None).unwrap();
        prop_assert_eq!(&found[0].annotations, &annotations);
        prop_assert!(found[1].annotations.is_empty());
    }
}

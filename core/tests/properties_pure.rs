//! Properties of the parsers of texts and headers, over generated valid values.

use http::Uri;
use oci_proto::header::{ByteRange, Challenge, ContentRange, HttpDate, Link, Selected, Warning, resolve};
use oci_proto::{Digest, MediaType, Platform, Rank, Reference, Registry};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

const COMPONENT: &str = "[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,6}){0,2}";
const TAG: &str = "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}";
const TOKEN: &str = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}";
/// The content of a quoted string.
const TEXT: &str = "[ -~\t\u{e4}\u{4e2d}]{0,30}";

/// The name of a registry, as it is printed.
fn registry() -> impl Strategy<Value = String> {
    let domain = "[a-z]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-z]([a-z0-9-]{0,5}[a-z])?){1,3}";
    let host = prop_oneof![
        domain.prop_map(String::from),
        Just("localhost".to_owned()),
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|address| format!("[{address}]")),
    ];
    prop_oneof![
        (host.clone(), 1..=u16::MAX).prop_map(|(host, port)| format!("{host}:{port}")),
        host.prop_filter("an alias of docker.io", |host| !host.ends_with(".docker.io")),
    ]
}

fn digest() -> impl Strategy<Value = String> {
    prop_oneof!["sha256:[0-9a-f]{64}", "sha512:[0-9a-f]{128}", "x\\+y:[A-Za-z0-9=_-]{1,20}"]
}

/// The name of a repository, of at least two components.
fn repository() -> impl Strategy<Value = String> {
    vec(COMPONENT, 2..5).prop_map(|components| components.join("/"))
}

/// A text in mixed case.
fn any_case(text: String) -> impl Strategy<Value = String> {
    vec(any::<bool>(), text.len()).prop_map(move |upper| {
        let cased = |(c, upper): (char, bool)| if upper { c.to_ascii_uppercase() } else { c };
        text.chars().zip(upper).map(cased).collect()
    })
}

fn quoted(text: &str) -> String {
    let escaped: String =
        text.chars().flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c])).collect();
    format!("\"{escaped}\"")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_full_reference_round_trips(
        registry in registry(), repository in repository(),
        tag in proptest::option::of(TAG), digest in proptest::option::of(digest()),
    ) {
        let mut text = format!("{registry}/{repository}");
        if let Some(tag) = &tag {
            text.extend([":", tag]);
        }
        if let Some(digest) = &digest {
            text.extend(["@", digest]);
        }
        let reference: Reference = text.parse().unwrap();
        prop_assert_eq!(reference.registry().as_str(), registry);
        prop_assert_eq!(reference.repository().as_str(), repository);
        if tag.is_none() && digest.is_none() {
            text += ":latest";
        }
        prop_assert_eq!(reference.to_string(), text.clone());
        prop_assert_eq!(reference, text.parse().unwrap());
    }

    #[test]
    fn registries_are_case_insensitive(
        (one, other) in registry().prop_flat_map(|text| (Just(text.clone()), any_case(text)))
    ) {
        prop_assert_eq!(one.parse::<Registry>().unwrap(), other.parse::<Registry>().unwrap());
    }

    #[test]
    fn a_short_name_refers_to_docker_hub(name in COMPONENT, tag in TAG) {
        let reference: Reference = format!("{name}:{tag}").parse().unwrap();
        prop_assert_eq!(reference.to_string(), format!("docker.io/library/{name}:{tag}"));
    }

    #[test]
    fn names_never_panic(text in "\\PC{0,80}", near in "[a-zA-Z0-9.:/@_\\[\\]()-]{0,40}") {
        for text in [&text, &near] {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse(), Ok(reference));
            }
            if let Ok(platform) = text.parse::<Platform>() {
                prop_assert_eq!(platform.to_string().parse(), Ok(platform));
            }
            if let Ok(media_type) = text.parse::<MediaType>() {
                prop_assert_eq!(media_type.to_string().parse(), Ok(media_type));
            }
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(&digest.to_string(), text);
            }
        }
    }

    #[test]
    fn a_platform_in_a_document_matches_its_parsed_value(
        os in "(linux|Linux|windows|macOS|darwin)",
        architecture in "(amd64|x86_64|arm|armhf|ARM64|aarch64|386|i386)",
        variant in proptest::option::of("(v?[5-9]|v8\\.[0-9]|v9\\.[0-9]|[a-z]{1,3})"),
        version in proptest::option::of("[0-9]{1,2}(\\.[0-9]{1,5}){0,3}"),
    ) {
        let kept = Platform::from_parts(&os, &architecture, variant.as_deref(), version.as_deref()).unwrap();
        let read: Platform = kept.to_string().parse().unwrap();
        prop_assert_eq!(kept.rank(&read), Some(Rank::EXACT));
        prop_assert_eq!(read.rank(&kept), Some(Rank::EXACT));
        prop_assert_eq!(read.to_string().parse(), Ok(read));
    }

    #[test]
    fn serving_is_transitive(
        variants in vec("(v[1-9]|v8\\.[0-9]|v9\\.[0-9])", 3),
        architecture in "(amd64|arm64|arm)",
    ) {
        let platforms: Vec<Platform> = variants
            .iter()
            .map(|variant| format!("linux/{architecture}/{variant}").parse().unwrap())
            .collect();
        let serves = |a: usize, b: usize| platforms[a].rank(&platforms[b]).is_some();
        prop_assert!(!(serves(0, 1) && serves(1, 2)) || serves(0, 2));
    }

    #[test]
    fn challenges_round_trip(
        written in vec(
            (
                TOKEN,
                btree_map("[a-z][a-z0-9_-]{0,8}", TEXT, 0..5),
                proptest::option::of("[A-Za-z0-9._~+/-]{1,9}={0,2}"),
            ),
            0..5,
        ),
        comma in "( ,|,|, |\t,,  ,)",
    ) {
        let value = written.iter().map(|(scheme, params, token68)| match token68 {
            Some(token68) if params.is_empty() => format!("{scheme} {token68}"),
            _ => {
                let params = params.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
                format!("{scheme} {}", params.collect::<Vec<_>>().join(&comma))
            }
        });
        let value = value.collect::<Vec<_>>().join(&comma);
        let read = Challenge::parse(value.as_bytes()).unwrap();
        prop_assert_eq!(read.len(), written.len());
        for (read, (scheme, params, token68)) in read.iter().zip(&written) {
            prop_assert!(read.is(scheme));
            prop_assert_eq!(read.token68(), token68.as_deref().filter(|_| params.is_empty()));
            let params: Vec<_> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            prop_assert_eq!(read.params().collect::<Vec<_>>(), params);
        }
    }

    #[test]
    fn links_round_trip(
        written in vec(
            ("[!#-;=?-\\[\\]-~]{0,30}", "[a-z]{1,5}( [a-z]{1,5}){0,2}", "( ; |;|;; )"),
            0..5,
        )
    ) {
        let value = written.iter().map(|(target, rel, semicolon)| format!("<{target}>{semicolon}rel=\"{rel}\""));
        let read = Link::parse(value.collect::<Vec<_>>().join(",").as_bytes()).unwrap();
        prop_assert_eq!(read.len(), written.len());
        for (read, (target, rel, _)) in read.iter().zip(&written) {
            prop_assert_eq!(read.target(), target);
            prop_assert_eq!(read.rels().collect::<Vec<_>>().join(" "), rel.as_str());
        }
    }

    #[test]
    fn warnings_round_trip(texts in vec(TEXT, 0..5)) {
        let value = texts.iter().map(|text| format!("299 - {}", quoted(text))).collect::<Vec<_>>().join(", ");
        let read = Warning::parse(value.as_bytes()).unwrap();
        prop_assert_eq!(read.iter().map(Warning::text).collect::<Vec<_>>(), texts);
    }

    #[test]
    fn a_content_range_has_the_parsed_numbers(mut numbers in any::<[u64; 3]>(), order in any::<bool>()) {
        if order {
            numbers.sort_unstable();
        }
        let [first, last, total] = numbers;
        let read = ContentRange::parse(format!("bytes {first}-{last}/{total}").as_bytes());
        prop_assert_eq!(read.is_ok(), first <= last && last < total);
        if let Ok(read) = read {
            prop_assert_eq!(read.range(), Some(first..last + 1));
            prop_assert_eq!(ContentRange::parse(read.to_string().as_bytes()), Ok(read));
        }
    }

    #[test]
    fn a_range_selects_its_bytes(first in 0..20_u64, last in 0..20_u64, size in 0..20_u64) {
        let select = |text: String| ByteRange::parse(text.as_bytes()).ok().flatten().map(|range| range.select(size));
        let expected = |wanted: &dyn Fn(u64) -> bool| {
            let bytes: Vec<u64> = (0..size).filter(|byte| wanted(*byte)).collect();
            match (bytes.first(), bytes.last()) {
                (Some(first), Some(last)) => Selected::Part(*first..last + 1),
                _ => Selected::Nothing,
            }
        };
        prop_assert_eq!(select(format!("bytes={first}-")), Some(expected(&|byte| byte >= first)));
        // Nothing also if the range ends before it starts.
        let between = expected(&|byte| first <= byte && byte <= last);
        prop_assert_eq!(select(format!("bytes={first}-{last}")), Some(between));
        let suffix = if size == 0 && last > 0 { Selected::Whole } else { expected(&|byte| byte + last >= size) };
        prop_assert_eq!(select(format!("bytes=-{last}")), Some(suffix));
    }

    #[test]
    fn dates_in_all_three_formats_are_equal(
        year in 1970..2070_u32, month in 0..12_usize, day in 1..29_u32, seconds in 0..86_400_u32,
    ) {
        let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][month];
        let time = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        let rest = format!(", {day:02} {month} {year} {time} GMT");
        let weekdays = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
        let dates: Vec<_> = weekdays
            .iter()
            .filter_map(|name| Some((name, HttpDate::parse(format!("{}{rest}", &name[..3]).as_bytes()).ok()?)))
            .collect();
        let [(weekday, preferred)] = dates[..] else { panic!("{rest}: not one weekday: {dates:?}") };
        let rfc850 = format!("{weekday}, {day:02}-{month}-{:02} {time} GMT", year % 100);
        let asctime = format!("{} {month} {day:2} {time} {year}", &weekday[..3]);
        prop_assert_eq!(HttpDate::parse(rfc850.as_bytes()), Ok(preferred));
        prop_assert_eq!(HttpDate::parse(asctime.as_bytes()), Ok(preferred));
        prop_assert!(preferred.to_string().ends_with(&rest));
    }

    #[test]
    fn a_path_is_resolved_like_a_path_of_directories(
        base in vec("[a-z]{1,3}", 0..5), reference in vec("([a-z]{1,3}|\\.|\\.\\.)", 1..7)
    ) {
        let mut walked = base.clone();
        walked.pop();
        for segment in &reference {
            match segment.as_str() {
                "." => {}
                ".." => drop(walked.pop()),
                name => walked.push(name.to_owned()),
            }
        }
        let in_directory = reference.last().is_some_and(|last| last.starts_with('.'));
        let slash = if in_directory && !walked.is_empty() { "/" } else { "" };
        let expected = format!("https://h/{}{slash}", walked.join("/"));
        let base: Uri = format!("https://h/{}", base.join("/")).parse().unwrap();
        let resolved = resolve(&base, reference.join("/").as_bytes()).unwrap();
        prop_assert_eq!(resolved.to_string(), expected);
    }
}

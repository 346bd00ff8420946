use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn namespace(text: &str) -> Namespace {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn registries(entries: impl IntoIterator<Item = RegistryEntry>) -> Registries {
    let mut registries = Registries::default();
    entries.into_iter().for_each(|entry| registries.set(entry));
    registries
}

/// The primary place, and the mirrors with a `*` if they resolve tags.
fn places(registries: &Registries, reference: &str) -> Result<Vec<String>, RouteError> {
    let Route { primary, mirrors } = registries.route(&reference.parse().unwrap())?;
    let show = |place: &Place| format!("{}{}", if place.insecure { "http " } else { "" }, place.reference);
    let mirrors = mirrors
        .iter()
        .map(|mirror| format!("{}{}", if mirror.has_tags { "*" } else { "" }, show(&mirror.place)));
    Ok([show(&primary)].into_iter().chain(mirrors).collect())
}

#[test]
fn the_entry_with_the_longest_prefix_applies() {
    let prefixes = [
        "r.example",
        "r.example/team",
        "r.example/team/app",
        "r.example:5000",
        "*.example",
        "*.sub.example",
        "*.sub.example:5000",
        "*.sub.example/team",
        "docker.io/library",
    ];
    // Each location shows which one it was.
    let entries = prefixes.iter().zip(0..).map(|(text, number)| {
        RegistryEntry::new(prefix(text)).location(namespace(&format!("n{number}.test/at")))
    });
    let registries = registries(entries);
    for (reference, number) in [
        ("r.example/other:1", Some(0)),
        ("r.example/teams:1", Some(0)),
        ("r.example/team:1", Some(1)),
        ("r.example/team/apps:1", Some(1)),
        ("r.example/team/app:1", Some(2)),
        ("r.example/team/app/x:1", Some(2)),
        ("r.example:5000/team/app:1", Some(3)),
        ("r.example:5001/team/app:1", None),
        ("a.example/team/app:1", Some(4)),
        ("a.b.example/x:1", Some(4)),
        ("a.sub.example/x:1", Some(5)),
        ("a.sub.example:5000/team:1", Some(6)),
        ("a.sub.example/team/x:1", Some(7)),
        ("sub.example/x:1", Some(4)),
        ("ubuntu", Some(8)),
        ("bitnami/redis", None),
        ("example.test/x:1", None),
    ] {
        let found = places(&registries, reference).unwrap();
        let is_at = |number: i32| found[0].starts_with(&format!("n{number}.test/at"));
        let expected = number.map_or_else(|| !found[0].contains(".test/at"), is_at);
        assert!(expected, "{reference}: {found:?}");
    }
}

#[test]
fn a_location_replaces_the_prefix() {
    let digest = format!("r.example/team/app:1@{DIGEST}");
    for (from, to, reference, expected) in [
        ("r.example", "s.example", "r.example/team/app:1", "s.example/team/app:1"),
        ("r.example", "s.example/a/b/", "r.example/team/app:1", "s.example/a/b/team/app:1"),
        ("r.example/team", "s.example", "r.example/team/app:1", "s.example/app:1"),
        ("r.example/team/app", "s.example/x", "r.example/team/app:1", "s.example/x:1"),
        ("*.example", "s.test/x", "r.example/team:1", "s.test/x/team:1"),
        ("r.example", "docker.io", "r.example/ubuntu:1", "docker.io/library/ubuntu:1"),
        ("docker.io", "s.example/hub", "ubuntu:1", "s.example/hub/library/ubuntu:1"),
        ("r.example", "r.example", "r.example/team/app:1", "r.example/team/app:1"),
        ("r.example/team", "[::1]:5000", &digest, &format!("[::1]:5000/app:1@{DIGEST}")),
    ] {
        let entry = RegistryEntry::new(prefix(from)).location(namespace(to));
        assert_eq!(places(&registries([entry]), reference).unwrap(), [expected], "{from} {to}");
    }

    let registries =
        registries([RegistryEntry::new(prefix("r.example/app")).location(namespace("s.example"))]);
    let error = places(&registries, "r.example/app:1").unwrap_err().to_string();
    assert!(error.contains("`s.example` in place of `r.example/app`"), "{error}");
    assert!(error.contains("the repository is missing"), "{error}");
}

#[test]
fn mirrors_are_those_for_the_kind_of_reference() {
    let mirror = |host: &str, pulls| Mirror::new(namespace(host), pulls);
    let entry = RegistryEntry::new(prefix("r.example"))
        .mirror(mirror("digests.test", MirrorPulls::DigestOnly))
        .mirror(mirror("tags.test", MirrorPulls::TagOnly).insecure(true))
        .mirror(mirror("all.test/x", MirrorPulls::All))
        .mirror(mirror("blocked.test", MirrorPulls::All));
    let registries = registries([entry, RegistryEntry::new(prefix("blocked.test")).blocked(true)]);
    assert_eq!(
        places(&registries, "r.example/app:1").unwrap(),
        ["r.example/app:1", "digests.test/app:1", "*http tags.test/app:1", "*all.test/x/app:1"]
    );
    let at = |host: &str| format!("{host}/app:1@{DIGEST}");
    assert_eq!(
        places(&registries, &at("r.example")).unwrap(),
        ["r.example", "digests.test", "all.test/x"].map(at)
    );
}

#[test]
fn a_blocked_reference_is_refused_with_its_entry() {
    let entry = RegistryEntry::new(prefix("r.example/team")).location(namespace("s.example"));
    let blocked = |text: &str| RegistryEntry::new(prefix(text)).blocked(true);
    let registries = registries([entry, blocked("s.example"), blocked("*.internal.example")]);
    for (reference, name, entry) in [
        ("s.example/app:1", "s.example/app", "`s.example`"),
        ("r.example/team/app:1", "s.example/app", "`s.example`"),
        ("a.internal.example/app:1", "a.internal.example/app", "`*.internal.example`"),
    ] {
        let error = places(&registries, reference).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name} is blocked")) && error.contains(entry), "{error}");
    }
    assert!(places(&registries, "r.example/app:1").is_ok());
    assert!(registries.route_to_registry(&"s.example".parse().unwrap()).is_err());
    // An entry for a part of a registry says nothing about all of it.
    assert_eq!(registries.route_to_registry(&"r.example".parse().unwrap()), Ok(false));
}

#[test]
fn plain_http_is_allowed_at_the_hosts_of_insecure_entries() {
    let registries = registries([
        RegistryEntry::new(prefix("a.example:5000/team")).insecure(true),
        RegistryEntry::new(prefix("*.b.example:5000")).insecure(true),
        RegistryEntry::new(prefix("c.example")).location(namespace("d.example")).insecure(true),
        RegistryEntry::new(prefix("e.example"))
            .mirror(Mirror::new(namespace("[2001:db8::1]:80"), MirrorPulls::All).insecure(true)),
    ]);
    for (host, expected) in [
        ("a.example", true),
        ("A.example", true),
        ("x.b.example", true),
        ("b.example", false),
        ("xb.example", false),
        ("c.example", false),
        ("d.example", true),
        ("e.example", false),
        ("2001:db8::1", true),
    ] {
        assert_eq!(registries.is_insecure(host), expected, "{host}");
    }
    assert_eq!(places(&registries, "a.example:5000/team/x:1").unwrap(), ["http a.example:5000/team/x:1"]);
    assert_eq!(places(&registries, "a.example:5000/x:1").unwrap(), ["a.example:5000/x:1"]);
}

#[test]
fn a_short_name_stands_for_a_repository() {
    let mut registries = Registries::default();
    registries.set_alias("fedora", Some("registry.example/fedora")).unwrap();
    registries.set_alias("team/app", Some("localhost:5000/app")).unwrap();
    registries.set_alias("gone", Some("registry.example/gone")).unwrap();
    registries.set_alias("gone", None).unwrap();
    for (text, expected) in [
        ("fedora", "registry.example/fedora:latest"),
        ("fedora:40", "registry.example/fedora:40"),
        (&format!("fedora@{DIGEST}"), &format!("registry.example/fedora@{DIGEST}")),
        (&format!("team/app:1@{DIGEST}"), &format!("localhost:5000/app:1@{DIGEST}")),
        ("team/app/x", "docker.io/team/app/x:latest"),
        ("docker.io/fedora", "docker.io/library/fedora:latest"),
        ("gone", "docker.io/library/gone:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
    ] {
        assert_eq!(registries.reference(text).unwrap().to_string(), expected, "{text}");
    }
    for (name, target) in [
        ("r.example/a", "r.example/b"),
        ("localhost/a", "r.example/b"),
        ("a:1", "r.example/b"),
        ("A", "r.example/b"),
        ("a", "b"),
        ("a", "r.example/b:1"),
        ("a", "r.example"),
    ] {
        assert!(registries.set_alias(name, Some(target)).is_err(), "{name} {target}");
    }
}

#[test]
fn names_are_read_back_and_others_are_refused() {
    for text in ["r.example", "r.example:5000/a/b", "localhost", "[::1]:5000", "*.example", "*.r.example:1/a"]
    {
        assert_eq!(prefix(text).to_string(), text);
    }
    assert_eq!(prefix("R.example/a/").to_string(), "r.example/a");
    for text in [
        "",
        "/",
        "*",
        "*.",
        "a.*.example",
        "*r.example",
        "https://r.example",
        "r.example/A",
        "r.example//a",
        "r.example/a:1",
        "team/app",
    ] {
        assert!(text.parse::<Prefix>().is_err(), "{text}");
    }
    assert!("*.example".parse::<Namespace>().is_err());
}

//! `--referrers` of `ocip copy`, `ocip push` and `ocip pull`, and the indexes of referrers among all tags.

use std::fs;

use oci_proto::layout::INDEX;
use oci_proto::{Algorithm, Digest, MediaType};
use oci_proto_layout::Layout;
use serde_json::{Value, json};

use crate::all_tags::{World, names, writable};
use crate::support::ADAPTERS;

#[test]
fn indexes_of_referrers_are_not_copied_as_tags() {
    for adapter in ADAPTERS {
        let world = World::new();
        let serving = writable(&world.path("registry"));
        let [to, copied] = ["app", "copied"].map(|name| format!("{}/{name}", serving.address()));
        let run = |arguments: &[&str]| world.ocip(&[&["--adapter", adapter], arguments].concat()).succeeded();
        // Each destination has an index of its own.
        run(&["copy", "oci:lay:1.0", "oci:new:1.0"]);
        let index = world.add_index("new", &[]);
        let own = format!("oci:new:{index}");
        let destinations = [to.clone(), copied, "oci:other".to_owned(), "oci:new".to_owned()];
        for destination in &destinations[..3] {
            run(&["copy", &own, &format!("{destination}:{index}")]);
        }
        run(&["copy", "oci:lay:1.0", &format!("{to}:1.0")]);
        let of_type = ["--artifact-type", "a/note", "--annotation", "a=b"];
        run(&[&["attach", &format!("{to}:1.0")][..], &of_type].concat());

        world.add_index("lay", &[&world.signature]);
        // A signature by cosign is found by its tag alone.
        let cosign = format!("{index}.sig");
        run(&["copy", "oci:lay:2.0", &format!("oci:lay:{cosign}")]);
        run(&["copy", &format!("oci:lay:{index}"), &format!("{}/source:{index}", serving.address())]);
        let source = format!("{}/source", serving.address());
        run(&["push", "lay", &source, "--all-tags"]);
        let root = |name: &str| run(&["resolve", &format!("{name}:{index}")]).stdout;
        let (before, foreign) = (root("oci:new"), root("oci:lay"));
        assert_ne!(before, foreign);
        assert_eq!(root(&source), foreign);

        let note = "1 index of referrers (sha256-...) is not copied as a tag; --referrers copies referrers\n\
            3 tags copied\n";
        for from in ["oci:lay", &source] {
            for destination in &destinations {
                for referrers in [&[][..], &["--referrers"]] {
                    let ran = run(&[&["copy", "--all-tags", from, destination], referrers].concat());
                    let says = if referrers.is_empty() { note } else { "3 tags copied\n" };
                    assert!(ran.stderr.starts_with(says), "{from} {destination}: {}", ran.stderr);
                    assert_eq!(ran.text().lines().count(), 3, "{}", ran.text());
                    assert!(ran.text().contains(&format!("\n{cosign}  ")), "{}", ran.text());
                    assert_eq!(root(destination), before, "{from} {destination}");
                }
            }
            let archive = if from == "oci:lay" { "disk.tar" } else { "pulled.tar" };
            run(&["copy", "--all-tags", from, &format!("oci-archive:{archive}")]);
            let archive = Layout::open_archive(world.path(archive)).unwrap();
            assert_eq!(names(&archive), [Some("1.0"), Some("2.0"), Some(&*cosign)], "{from}");
        }
        let listed = run(&["referrers", &format!("{to}:1.0")]);
        assert!(listed.text().contains("a/note") && listed.text().contains("a/signature"), "{listed:?}");
        // Without other tags, nothing is copied.
        run(&["copy", &own, &format!("oci:only:{index}")]);
        let ran = run(&["push", "--all-tags", "only", &to]);
        let nothing = "nothing to copy: no root of oci:only has a name, except for indexes of referrers\n";
        assert!(ran.stderr.ends_with(nothing) && ran.text().is_empty(), "{ran:?}");
    }
}

#[test]
fn referrers_are_copied_on_disk_and_counted() {
    let world = World::new();
    let run = |arguments: &[&str]| world.ocip(arguments).succeeded();
    let alone = run(&["copy", "oci:lay:1.0", "oci:alone:1.0"]);
    assert!(alone.stderr.contains("\n4 items, 0 of which existed; "), "{}", alone.stderr);
    for (from, to) in [
        ("oci:lay:1.0", "oci:new:1.0"),
        ("oci:lay:1.0", "oci-archive:new.tar:1.0"),
        // The signature is a root without a name, which does not make the source ambiguous.
        ("oci-archive:new.tar", "oci:again:1.0"),
    ] {
        let ran = run(&["copy", "--referrers", "--json", from, to]);
        let root: Value = serde_json::from_str(ran.text()).unwrap();
        assert_eq!(root["digest"], world.images[0].digest.to_string());
        // Its manifest, its config and its content.
        assert!(ran.stderr.contains("\n7 items, 0 of which existed; "), "{from}: {}", ran.stderr);
        run(&["check", "-q", to.strip_suffix(":1.0").unwrap()]);
        run(&["resolve", &format!("{}@{}", to.strip_suffix(":1.0").unwrap(), world.signature.digest)]);
    }
    let index = fs::read(world.path("new").join(INDEX)).unwrap();
    let again = run(&["copy", "--referrers", "oci:lay:1.0", "oci:new:1.0"]);
    assert!(again.stderr.contains("\n7 items, 7 of which existed; "), "{}", again.stderr);
    assert_eq!(fs::read(world.path("new").join(INDEX)).unwrap(), index);

    let all = run(&["copy", "--referrers", "--all-tags", "oci:lay", "oci-archive:all.tar"]);
    assert_eq!(all.text(), world.lines());
    let archive = Layout::open_archive(world.path("all.tar")).unwrap();
    assert_eq!(names(&archive), [Some("1.0"), None, Some("2.0")]);
    assert_eq!(archive.referrers(&world.images[0].digest).unwrap().len(), 1);
}

#[test]
fn referrers_are_sent_to_a_registry_and_pulled_from_it() {
    for adapter in ADAPTERS {
        let world = World::new();
        let serving = writable(&world.path("registry"));
        let name = |repository: &str| format!("{}/{repository}", serving.address());
        let (one, all) = (name("one:1.0"), name("all"));
        let run = |arguments: &[&str]| world.ocip(&[&["--adapter", adapter], arguments].concat()).succeeded();
        run(&["push", "--referrers", "lay:1.0", &one]);
        run(&["push", "--referrers", "--all-tags", "lay", &all]);
        run(&["pull", "--referrers", &one, "one"]);
        run(&["pull", "--referrers", "--all-tags", &all, "all"]);
        run(&["copy", "--referrers", &one, "oci-archive:one.tar:1.0"]);
        run(&["copy", "--referrers", "--all-tags", &all, "oci-archive:all.tar"]);
        let digest = world.signature.digest.to_string();
        for listed in [&one, &format!("{all}:1.0")] {
            assert!(run(&["referrers", listed]).text().starts_with(&digest), "{adapter} {listed}");
        }
        for (layout, expected) in [
            (Layout::open(world.path("one")), &[Some("1.0"), None][..]),
            (Layout::open_archive(world.path("one.tar")), &[Some("1.0"), None]),
            (Layout::open(world.path("all")), &[Some("1.0"), None, Some("2.0")]),
            (Layout::open_archive(world.path("all.tar")), &[Some("1.0"), None, Some("2.0")]),
        ] {
            let layout = layout.unwrap();
            assert_eq!(names(&layout), expected, "{adapter}");
            let referrers = layout.referrers(&world.images[0].digest).unwrap();
            assert_eq!(referrers, std::slice::from_ref(&world.signature), "{adapter}");
        }
        // A pull without referrers leaves those that are there.
        let index = fs::read(world.path("one").join(INDEX)).unwrap();
        run(&["pull", &one, "one"]);
        assert_eq!(fs::read(world.path("one").join(INDEX)).unwrap(), index);
    }
}

#[test]
fn too_many_documents_to_search_for_referrers_are_an_error() {
    let world = World::new();
    let entry = |n: u32| {
        let digest = Digest::of(Algorithm::Sha256, &n.to_be_bytes());
        json!({ "mediaType": MediaType::OCI_MANIFEST.as_str(), "digest": digest.to_string(), "size": 1000 })
    };
    let index = world.path("lay").join(INDEX);
    let mut document: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    document["manifests"].as_array_mut().unwrap().extend((0..50_000).map(entry));
    fs::write(&index, document.to_string()).unwrap();
    world.ocip(&["copy", "-q", "oci:lay:1.0", "oci:new"]).succeeded();
    let expected =
        "index.json: the documents under its roots exceed the limits of a search for referrers: 50000 ";
    for to in ["oci:referring", "127.0.0.1:1/app:1"] {
        let ran = world.ocip(&["copy", "--referrers", "oci:lay:1.0", to]);
        ran.failed(1, &[expected, "hint: omit --referrers"]);
    }
    let ran = world.ocip(&["copy", "--referrers", "--all-tags", "oci:lay", "oci:referring"]);
    ran.failed(1, &["0 of 2 tags copied\n", expected]);
    assert!(!world.path("referring").exists());
}

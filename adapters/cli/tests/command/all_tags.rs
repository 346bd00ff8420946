//! `--all-tags` of `ocip copy`, `ocip push` and `ocip pull`.

use std::fs;
use std::path::{Path, PathBuf};

use oci_proto::layout::{INDEX, blob_path};
use oci_proto::server::{Flavour, Memory};
use oci_proto::{Algorithm, Descriptor, Digest, MediaType, Tag, fallback_tag};
use oci_proto_layout::{Layout, LayoutWriter};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{ADAPTERS, Ran, Serving, command, ocip, on_both, ran, response, scripted};

/// A directory with the layout `lay`: two images that share a layer, named 1.0 and 2.0, and a signature of the first,
/// without a name.
pub(crate) struct World {
    home: TempDir,
    pub(crate) images: [Descriptor; 2],
    pub(crate) signature: Descriptor,
}

impl World {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut memory = Memory::new();
        let images = [&b"one"[..], b"two"].map(|own| memory.add_image(Flavour::OCI, None, &[b"shared", own]));
        let of_type = "a/signature".parse().unwrap();
        let signature = memory.add_artifact(Flavour::OCI, of_type, &[b"signed"], Some(&images[0]));
        let mut writer = LayoutWriter::open(home.path().join("lay")).unwrap();
        for (digest, content) in memory.contents() {
            let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest.clone(), content.len() as u64);
            writer.put(&descriptor, content).unwrap();
        }
        for (image, name) in images.iter().zip(["1.0", "2.0"]) {
            writer.set_root(image, Some(&name.parse().unwrap())).unwrap();
        }
        writer.set_root(&signature, None).unwrap();
        Self { home, images, signature }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Runs the command in the directory.
    pub(crate) fn ocip(&self, arguments: &[&str]) -> Ran {
        ran(&command(arguments).current_dir(self.home.path()).output().unwrap())
    }

    /// The results of copying both images.
    pub(crate) fn lines(&self) -> String {
        let line = |(tag, root): (&str, &Descriptor)| {
            format!("{tag}  {}  {}  {}\n", root.media_type, root.digest, root.size)
        };
        ["1.0", "2.0"].into_iter().zip(&self.images).map(line).collect()
    }

    /// Adds an index of these referrers of the first image to a layout, under the fallback tag, and returns that.
    pub(crate) fn add_index(&self, layout: &str, referrers: &[&Descriptor]) -> Tag {
        let entry = |of: &&Descriptor| json!({ "mediaType": of.media_type.as_str(), "digest": of.digest.to_string(), "size": of.size });
        let entries: Vec<_> = referrers.iter().map(entry).collect();
        let document =
            json!({ "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX.as_str(), "manifests": entries });
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        let index = Descriptor::new(MediaType::OCI_INDEX, digest, bytes.len() as u64);
        let tag = fallback_tag(&self.images[0].digest);
        let mut writer = LayoutWriter::open(self.path(layout)).unwrap();
        writer.put(&index, &bytes).unwrap();
        writer.set_root(&index, Some(&tag.as_str().parse().unwrap())).unwrap();
        tag
    }

    /// Removes a layer from a layout.
    fn damage(layout: &Path, content: &[u8]) {
        fs::remove_file(layout.join(blob_path(&Digest::of(Algorithm::Sha256, content)))).unwrap();
    }
}

/// A registry that stores what is pushed to it.
pub(crate) fn writable(directory: &Path) -> Serving {
    fs::create_dir_all(directory).unwrap();
    Serving::start(&["--writable", directory.to_str().unwrap()], 2)
}

pub(crate) fn names(layout: &Layout) -> Vec<Option<&str>> {
    layout.names()
}

#[test]
fn all_tags_are_copied_in_every_direction() {
    for adapter in ADAPTERS {
        let world = World::new();
        let serving = writable(&world.path("registry"));
        let [pushed, copied] = ["pushed", "team/copied"].map(|name| format!("{}/{name}", serving.address()));
        let run = |arguments: &[&str]| world.ocip(&[&["--adapter", adapter], arguments].concat()).succeeded();
        for arguments in [
            &["push", "--all-tags", "lay", &pushed][..],
            &["copy", "--all-tags", "oci:lay", &copied, "--verify", "--mount-from", "pushed"],
            &["copy", "--all-tags", &pushed, &copied],
            &["pull", "--all-tags", &copied, "pulled", "--verify"],
            &["copy", "--all-tags", &copied, "oci:copied"],
            &["copy", "--all-tags", &copied, "oci-archive:copied.tar"],
            &["copy", "--all-tags", "oci:copied", "oci:again"],
            &["copy", "--all-tags", "oci:copied", "oci-archive:again.tar"],
            &["copy", "--all-tags", "oci-archive:again.tar", "oci:last"],
        ] {
            let ran = run(arguments);
            assert_eq!(ran.text(), world.lines(), "{adapter} {arguments:?}");
            // A line for all, and the totals.
            let lines: Vec<_> = ran.stderr.lines().collect();
            assert!(lines.len() == 2 && lines[0] == "2 tags copied", "{arguments:?}: {}", ran.stderr);
            assert!(lines[1].starts_with("7 items"), "{arguments:?}: {}", ran.stderr);
            assert_eq!(run(&[&["resolve", "--json"], &["oci:lay:1.0"][..]].concat()).stderr, "");
        }
        for name in ["pulled", "copied", "again", "last"] {
            let layout = Layout::open(world.path(name)).unwrap();
            assert_eq!(names(&layout), [Some("1.0"), Some("2.0")], "{name}");
            run(&["check", "-q", name]);
        }
        for name in ["copied.tar", "again.tar"] {
            let layout = Layout::open_archive(world.path(name)).unwrap();
            assert_eq!(names(&layout), [Some("1.0"), Some("2.0")], "{name}");
            run(&["check", "-q", &format!("oci-archive:{name}")]);
        }
        // Nothing is sent or written a second time.
        let again = run(&["push", "--all-tags", "lay", &pushed]);
        assert!(again.stderr.contains("7 items, 7 of which existed"), "{}", again.stderr);
        let index = fs::read(world.path("pulled").join(INDEX)).unwrap();
        run(&["pull", "--all-tags", &copied, "pulled"]);
        assert_eq!(fs::read(world.path("pulled").join(INDEX)).unwrap(), index);
        assert_eq!(run(&["push", "-q", "--all-tags", "lay", &pushed]).stderr, "");
    }
}

#[test]
fn results_are_objects_with_the_tag() {
    let world = World::new();
    let ran = world.ocip(&["copy", "--all-tags", "--json", "oci:lay", "oci:new"]).succeeded();
    let lines: Vec<Value> = ran.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = ["1.0", "2.0"].into_iter().zip(&world.images).map(|(tag, root)| {
        let (media_type, digest) = (root.media_type.as_str(), root.digest.to_string());
        json!({ "tag": tag, "mediaType": media_type, "digest": digest, "size": root.size })
    });
    assert_eq!(lines, expected.collect::<Vec<_>>());
}

#[test]
fn a_platform_is_selected_of_each_tag() {
    let world = World::new();
    let ran = world.ocip(&["copy", "--all-tags", "--platform", "linux/amd64", "oci:lay", "oci:new"]);
    // Neither config says so.
    ran.failed(
        1,
        &["error: tag 1.0: ", "error: tag 2.0: ", "no image for platform", "2 of 2 tags were not copied"],
    );
    assert!(!world.path("new").exists(), "{ran:?}");
}

#[test]
fn wrong_content_of_a_tag_does_not_stop_the_others() {
    let world = World::new();
    let serving = writable(&world.path("registry"));
    let name = |repository: &str| format!("{}/{repository}", serving.address());
    world.ocip(&["push", "--all-tags", "-q", "lay", &name("damaged")]).succeeded();
    World::damage(&world.path("lay"), b"one");
    World::damage(&world.path("registry/damaged"), b"one");
    let wrong = world.path("wrong");
    world.ocip(&["copy", "--all-tags", "-q", "oci:lay", "oci:wrong"]).failed(1, &["1 of 2 tags"]);
    let content = b"two";
    fs::write(wrong.join(blob_path(&Digest::of(Algorithm::Sha256, content))), "TWO").unwrap();

    let second = world.lines().lines().nth(1).unwrap().to_owned() + "\n";
    for (adapter, number) in ADAPTERS.into_iter().zip(0..) {
        let new = |form: &str| format!("{form}{number}");
        let targets = [
            ("oci:lay", name(&new("pushed"))),
            ("oci:lay", new("oci:local")),
            ("oci:lay", new("oci-archive:local.tar")),
            (&name("damaged"), name(&new("copied"))),
            (&name("damaged"), new("oci:pulled")),
            (&name("damaged"), new("oci-archive:pulled.tar")),
        ];
        for (from, to) in &targets {
            let ran = world.ocip(&["copy", "--adapter", adapter, "--retries", "0", "--all-tags", from, to]);
            ran.failed(1, &["error: tag 1.0: "]);
            assert_eq!(ran.text(), second, "{from} {to}: {}", ran.stderr);
            assert!(ran.stderr.ends_with("\nerror: 1 of 2 tags was not copied\n"), "{}", ran.stderr);
            // What was copied is whole.
            world.ocip(&["check", "-q", &format!("{to}:2.0")]).succeeded();
            world.ocip(&["resolve", &format!("{to}:1.0")]).failed(1, &[]);
        }
        // A digest that does not match.
        for to in [name(&new("wrong")), new("oci-archive:wrong.tar")] {
            let ran =
                world.ocip(&["copy", "--adapter", adapter, "--retries", "0", "--all-tags", "oci:wrong", &to]);
            ran.failed(1, &["error: tag 2.0: ", "digest mismatch", "error: 1 of 1 tag was not copied\n"]);
        }
        assert!(!world.path(&new("wrong.tar")).exists());
    }
    World::damage(&world.path("registry/damaged"), b"two");
    let ran = world.ocip(&["copy", "--all-tags", &name("damaged"), "oci-archive:none.tar"]);
    ran.failed(1, &["error: 2 of 2 tags were not copied\n"]);
    assert!(!world.path("none.tar").exists());
}

#[test]
fn a_name_that_is_no_tag_is_not_copied_to_a_registry() {
    let world = World::new();
    let serving = writable(&world.path("registry"));
    let to = format!("{}/app", serving.address());
    let mut writer = LayoutWriter::open(world.path("lay")).unwrap();
    writer.set_root(&world.images[1], Some(&"team/app:2".parse().unwrap())).unwrap();
    drop(writer);
    let ran = world.ocip(&["push", "--all-tags", "lay", &to]);
    ran.failed(
        1,
        &["error: tag team/app:2: `team/app:2` is not a tag", "error: 1 of 3 tags was not copied\n"],
    );
    assert_eq!(ran.text(), world.lines());
    // A layout may have it.
    let ran = world.ocip(&["copy", "--all-tags", "oci:lay", "oci:new"]).succeeded();
    assert_eq!(ran.text().lines().count(), 3);

    // Two roots with one name.
    let index = world.path("lay").join(INDEX);
    let text = fs::read_to_string(&index).unwrap().replace("team/app:2", "1.0");
    fs::write(&index, text).unwrap();
    let ran = world.ocip(&["push", "--all-tags", "lay", &to]);
    ran.failed(1, &["tag 1.0: ", "to several roots", "error: 1 of 2 tags was not copied\n"]);
}

#[test]
fn an_error_that_concerns_every_tag_ends_the_command() {
    let world = World::new();
    let read_only = Serving::start(&[world.path("lay").to_str().unwrap()], 3);
    let refused = scripted(|_| response("403 Forbidden", "text/plain", b""));
    for (to, expected) in [
        ("127.0.0.1:1/app".to_owned(), "could not connect"),
        (format!("{}/app", read_only.address()), "read-only"),
        (format!("{refused}/app"), "403 Forbidden"),
        ("oci:lay/oci-layout".to_owned(), "found a file"),
        ("oci-archive:lay".to_owned(), "a directory"),
    ] {
        for adapter in ADAPTERS {
            let ran =
                world.ocip(&["copy", "--adapter", adapter, "--retries", "0", "--all-tags", "oci:lay", &to]);
            ran.failed(1, &["0 of 2 tags copied\n", "error: tag 1.0: ", expected]);
            assert_eq!(ran.stderr.matches("error: tag ").count(), 1, "{}", ran.stderr);
            assert_eq!(ran.text(), "");
        }
    }
    // Directories that cannot be written: of a file system without files, below a file, and damaged layouts.
    #[cfg(target_os = "linux")]
    cannot_be_written(
        &world,
        &read_only,
        "/proc/new",
        "error: tag 1.0: /proc/new: the directory cannot be created\n",
    );
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", world.path("dangling")).unwrap();
        cannot_be_written(
            &world,
            &read_only,
            "dangling",
            "error: tag 1.0: dangling: the directory cannot be created\n",
        );
    }
    for name in ["damaged", "index"] {
        fs::create_dir_all(world.path(name)).unwrap();
        fs::copy(world.path("lay/oci-layout"), world.path(name).join("oci-layout")).unwrap();
    }
    fs::write(world.path("damaged").join(INDEX), "{").unwrap();
    cannot_be_written(
        &world,
        &read_only,
        "damaged",
        "error: tag 1.0: damaged/index.json: the document is not",
    );
    fs::create_dir(world.path("index").join(INDEX)).unwrap();
    cannot_be_written(&world, &read_only, "index", "error: tag 1.0: index/index.json: expected a file");
    cannot_be_written(&world, &read_only, "lay/oci-layout/new", "error: tag 1.0: lay/oci-layout/new: ");
    for from in ["oci:lay", &format!("{}/layout", read_only.address())] {
        let ran = world.ocip(&["copy", "--all-tags", from, "oci-archive:none/new.tar"]);
        ran.failed(1, &["none: not found\nhint: create the directory first"]);
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{}", ran.stderr);
    }

    fs::create_dir_all(world.path("odd/oci-layout")).unwrap();
    let ran = world.ocip(&["pull", "--all-tags", &format!("{}/layout", read_only.address()), "odd"]);
    ran.failed(1, &["0 of 2 tags copied\n", "error: tag 1.0: odd/oci-layout: expected a file"]);
    assert_eq!(ran.stderr.matches("error: tag ").count(), 1, "{}", ran.stderr);
}

/// Asserts that a copy to the directory ends with the error of the first tag.
#[track_caller]
fn cannot_be_written(world: &World, from: &Serving, directory: &str, expected: &str) {
    let (from, to) = (format!("{}/layout", from.address()), format!("oci:{directory}"));
    for arguments in [
        ["pull", "--all-tags", &from, directory],
        ["copy", "--all-tags", &from, &to],
        ["copy", "--all-tags", "oci:lay", &to],
    ] {
        for adapter in ADAPTERS {
            let ran = world.ocip(&[&arguments[..], &["--adapter", adapter]].concat());
            ran.failed(1, &["0 of 2 tags copied\n", expected]);
            assert_eq!(ran.stderr.matches("error: ").count(), 1, "{}", ran.stderr);
        }
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_tells_how_many_tags_were_copied() {
    use std::io::{BufRead as _, BufReader, Read as _};
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};

    let world = World::new();
    // It has an empty index, and never answers for the other tag.
    let registry = scripted(|path| match path {
        "/v2/app/tags/list" => response("200 OK", "application/json", br#"{"tags":["done","never"]}"#),
        "/v2/app/manifests/never" => loop {
            std::thread::park();
        },
        _ => response("200 OK", MediaType::OCI_INDEX.as_str(), br#"{"schemaVersion":2,"manifests":[]}"#),
    });
    let from = format!("{registry}/app");
    // Many names of one root.
    let index = world.path("lay").join(INDEX);
    let mut document: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    let mut entry = document["manifests"][0].clone();
    for number in 0..1998 {
        entry["annotations"]["org.opencontainers.image.ref.name"] = json!(format!("x{number}"));
        document["manifests"].as_array_mut().unwrap().push(entry.clone());
    }
    fs::write(&index, document.to_string()).unwrap();
    for (adapter, number) in ADAPTERS.into_iter().zip(0..) {
        let new = |form: &str| format!("{form}{number}");
        for (from, to, of) in [
            (&*from, new("oci:pulled"), 2),
            (&from, new("oci-archive:pulled.tar"), 2),
            ("oci:lay", new("oci:local"), 2000),
            ("oci:lay", new("oci-archive:local.tar"), 2000),
        ] {
            let arguments = ["copy", "--adapter", adapter, "--all-tags", from, &to];
            let mut command = command(&arguments);
            command.current_dir(world.home.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap());
            lines.read_line(&mut String::new()).unwrap();
            let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
            assert!(sent.unwrap().success());
            lines.read_to_end(&mut Vec::new()).unwrap();
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.signal(), Some(2), "{adapter} {to}: {stderr}");
            // The totals may follow or precede it.
            let told = format!(" of {of} tags copied");
            let done = stderr.lines().find_map(|line| line.strip_suffix(&told)?.parse().ok());
            let done: u64 = done.unwrap_or_else(|| panic!("{adapter} {to}: {stderr}"));
            assert!((1..of).contains(&done), "{adapter} {to}: {stderr}");
        }
    }
}

#[test]
fn without_tags_there_is_nothing_to_copy() {
    let world = World::new();
    let empty = scripted(|_| response("200 OK", "application/json", br#"{"name":"app","tags":[]}"#));
    let from = format!("{empty}/app");
    for to in ["oci:new", "oci-archive:new.tar"] {
        let ran = world.ocip(&["copy", "--all-tags", &from, to]).succeeded();
        assert_eq!((ran.text(), &*ran.stderr), ("", "nothing to copy: app has no tags\n"));
    }
    assert_eq!(on_both(&["copy", "--all-tags", "-q", &from, "127.0.0.1:1/app"]).succeeded().stderr, "");
    world.ocip(&["copy", "-q", "oci:lay:1.0", "oci:nameless"]).succeeded();
    for to in ["oci:new", "oci-archive:new.tar", "127.0.0.1:1/app"] {
        let ran = world.ocip(&["copy", "--all-tags", "oci:nameless", to]).succeeded();
        assert_eq!(ran.stderr, "nothing to copy: no root of oci:nameless has a name\n");
    }
    assert!(!world.path("new").exists() && !world.path("new.tar").exists());
    let missing = scripted(|_| response("404 Not Found", "application/json", b"{}"));
    for arguments in
        [&["pull", "--all-tags", &format!("{missing}/app"), "new"][..], &["tags", &format!("{missing}/app")]]
    {
        let hint = "\nhint: check the repository; it may also be private\n";
        world.ocip(arguments).failed(1, &["/v2/app/tags/list", hint]);
    }
    assert!(!world.path("new").exists());
}

#[test]
fn mistakes_are_explained_with_the_line_to_type() {
    let world = World::new();
    let zeros = format!("sha256:{}", "0".repeat(64));
    let to = "127.0.0.1:1/app";
    let (tagged, by_digest) = (format!("{to}:1"), format!("{to}@{zeros}"));
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["copy", &tagged, "oci:new"],
            &["a tag or a digest", "ocip copy 127.0.0.1:1/app oci:new --all-tags\n"],
        ),
        (&["copy", &by_digest, "oci:new"], &["ocip copy 127.0.0.1:1/app oci:new --all-tags\n"]),
        (&["copy", "oci:lay", &tagged], &["ocip copy oci:lay 127.0.0.1:1/app --all-tags\n"]),
        (&["copy", &tagged, "oci:new:1"], &["ocip copy 127.0.0.1:1/app oci:new --all-tags\n"]),
        (&["copy", "oci:lay:1.0", to], &["names a root", "ocip copy oci:lay 127.0.0.1:1/app --all-tags\n"]),
        (&["copy", to, "oci-archive:a.tar:1"], &["ocip copy 127.0.0.1:1/app oci-archive:a.tar --all-tags\n"]),
        (&["copy", "lay", to], &["ocip copy oci:lay 127.0.0.1:1/app --all-tags\n"]),
        (
            &["copy", to, "new"],
            &["neither registry nor tag", "ocip copy 127.0.0.1:1/app oci:new --all-tags\n"],
        ),
        (&["push", "lay:1.0", to], &["names a root", "ocip push lay 127.0.0.1:1/app --all-tags\n"]),
        (&["push", "oci:lay:1.0", &tagged], &["ocip push oci:lay 127.0.0.1:1/app --all-tags\n"]),
        (&["push", to, "lay"], &["comes before", "ocip push lay 127.0.0.1:1/app --all-tags\n"]),
        (&["push", "lay", "oci:new"], &["ocip copy oci:lay oci:new --all-tags\n"]),
        (&["pull", &tagged, "new"], &["a tag or a digest", "ocip pull 127.0.0.1:1/app new --all-tags\n"]),
        (&["pull", "new", to], &["comes before", "ocip pull 127.0.0.1:1/app new --all-tags\n"]),
        (&["copy", "oci:lay", to, "--tag", "x"], &["--tag names one root", "omit --tag"]),
        (&["push", "lay", to, "--tag", "x"], &["--tag names one root", "omit --tag"]),
        (&["copy", "oci:lay", "oci:new", "--verify"], &["--verify applies only to registries"]),
        (&["copy", to, "oci:new", "--mount-from", "x"], &["--mount-from applies only to registries"]),
    ];
    for (arguments, expected) in cases {
        let ran = world.ocip(&[*arguments, &["--all-tags"]].concat());
        ran.failed(2, expected);
        assert!(ran.stderr.starts_with("error: ") && ran.text().is_empty(), "{arguments:?}: {ran:?}");
        assert!(!world.path("new").exists(), "{arguments:?}");
    }
    ocip(&["push", "-a", "lay", to]).failed(2, &["--all-tags copies all tags"]);
}

#[test]
fn a_copy_of_all_tags_is_recorded_and_replayed() {
    let world = World::new();
    let serving = writable(&world.path("registry"));
    let name = |repository: &str| format!("{}/{repository}", serving.address());
    for adapter in ADAPTERS {
        let (pushed, copied) = (name(&format!("{adapter}/pushed")), name(&format!("{adapter}/copied")));
        for (number, arguments) in [
            &["push", "--all-tags", "lay", &pushed][..],
            &["copy", "--all-tags", &pushed, &copied],
            &["pull", "--all-tags", &copied, &format!("pulled-{adapter}")],
        ]
        .iter()
        .enumerate()
        {
            let file = format!("{adapter}-{number}.txt");
            let words = [&["record", &file, "--"], *arguments, &["--adapter", adapter]].concat();
            assert_eq!(world.ocip(&words).succeeded().text(), world.lines());
            let replayed = world.ocip(&["replay", &file]).succeeded();
            assert!(replayed.text().starts_with("exact: "), "{}", replayed.text());
        }
    }
}

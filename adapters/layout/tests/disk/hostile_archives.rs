//! Archives that are damaged, or made to mislead.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use oci_proto::layout::{Root, blob_path, marker};
use oci_proto::server::{Content as _, Memory};
use oci_proto::{Algorithm, Descriptor, Digest, MediaType, WalkOptions};
use oci_proto_layout::oci_proto;
use oci_proto_layout::{InvalidArchive, Layout, LayoutError, LayoutErrorKind, check_archive};
use tar::{EntryType, Header};
use tempfile::TempDir;

use crate::archives::{Random, store};
use crate::support::name;

const INDEX: &[u8] = br#"{"schemaVersion":2,"manifests":[]}"#;
const BLOB: &[u8] = b"the bytes of a blob";

/// A temporary file for archives.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("app.tar")
    }

    fn open(&self, archive: &[u8]) -> Result<Layout, LayoutError> {
        fs::write(self.file(), archive).unwrap();
        Layout::open_archive(self.file())
    }
}

/// A member, as the crate `tar` would not write it.
fn raw(name: &[u8], kind: u8, size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(EntryType::new(kind));
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    let mut member = header.as_bytes().to_vec();
    member.extend_from_slice(content);
    member.resize(member.len().next_multiple_of(512), 0);
    member
}

fn member(name: &str, content: &[u8]) -> Vec<u8> {
    raw(name.as_bytes(), b'0', content.len() as u64, content)
}

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, BLOB)
}

/// The path of the blob.
fn path() -> String {
    blob_path(&digest())
}

/// A pax record.
fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = format!(" {key}={value}\n");
    let length = (1..1000).find(|length: &usize| length.to_string().len() + rest.len() == *length).unwrap();
    format!("{length}{rest}").into_bytes()
}

fn pax(key: &str, value: &str) -> Vec<u8> {
    let records = record(key, value);
    raw(b"pax", b'x', records.len() as u64, &records)
}

/// A sparse file with some blocks of its map after the header.
fn sparse(blocks: usize) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_path("sparse").unwrap();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(3);
    header.as_gnu_mut().unwrap().set_is_extended(blocks > 0);
    header.set_cksum();
    let mut member = header.as_bytes().to_vec();
    for left in (0..blocks).rev() {
        let mut map = tar::GnuExtSparseHeader::new();
        map.sparse_mut()[0].set_length(3);
        map.set_is_extended(left > 0);
        member.extend_from_slice(map.as_bytes());
    }
    member.extend_from_slice(b"abc");
    member.resize(member.len().next_multiple_of(512), 0);
    member
}

/// An archive of a layout without roots, with other members.
fn with(members: &[Vec<u8>]) -> Vec<u8> {
    let own = [member("oci-layout", marker()), member("index.json", INDEX)];
    let end = vec![0; 1024];
    own.iter().chain(members).chain([&end]).flatten().copied().collect()
}

#[test]
fn names_are_read_in_every_form() {
    let long = [&path().into_bytes()[..], b"\0"].concat();
    let sized = |size: &str| {
        // The header's own size is that of another program.
        let mut member = raw(path().as_bytes(), b'0', 7, BLOB);
        member.splice(0..0, pax("size", size));
        member
    };
    for (what, members) in [
        ("plain", vec![member(&path(), BLOB)]),
        ("dot", vec![member(&format!("./{}", path()), BLOB)]),
        ("dots and slashes", vec![member(&format!(".//./{}", path()).replace("/sha", "//sha"), BLOB)]),
        ("old type", vec![raw(path().as_bytes(), 0, 19, BLOB)]),
        ("contiguous", vec![raw(path().as_bytes(), b'7', 19, BLOB)]),
        (
            "directories",
            vec![raw(b"blobs/", b'5', 0, b""), raw(b"blobs/sha256/", 0, 0, b""), member(&path(), BLOB)],
        ),
        ("GNU long name", vec![raw(b"././@LongLink", b'L', long.len() as u64, &long), member("cut", BLOB)]),
        ("pax path", vec![pax("path", &path()), member("cut", BLOB)]),
        ("pax size", vec![sized("19")]),
        ("pax comment", vec![raw(b"g", b'g', 13, b"13 comment=x\n"), member(&path(), BLOB)]),
        ("last one", vec![member(&path(), b"other"), member(&path(), BLOB)]),
        ("last one in another form", vec![member(&path(), b"other"), member(&format!("./{}", path()), BLOB)]),
        (
            "other members",
            vec![
                member("manifest.json", b"[]"),
                raw(b"link", b'2', 0, b""),
                raw(b"hard", b'1', 0, b""),
                raw(b"tty", b'3', 0, b""),
                raw(b"volume", b'V', 0, b""),
                raw(b"sparse", b'S', 3, b"abc"),
                sparse(0),
                sparse(2),
                raw(b"latin\xe9", b'0', 3, b"abc"),
                member("../oci-layout", b"no"),
                member("/oci-layout", b"no"),
                member("x/../oci-layout", b"no"),
                member("blobs/../index.json", b"no"),
                member("blobs/sha256/../../index.json", b"no"),
                member("blobs/sha256/", b""),
                member("blobs/sha256/short", b"no"),
                member(&format!("{}/x", path()), b"no"),
                member(&format!("/{}", path()), b"no"),
                member(&format!("../{}", path()), b"no"),
                member("", b"no"),
                member(&path(), BLOB),
            ],
        ),
    ] {
        let place = Place::new();
        let layout = place.open(&with(&members)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut content = Vec::new();
        let blob = layout.blob(&digest(), Some(19)).unwrap_or_else(|error| panic!("{what}: {error}"));
        { blob }.read_to_end(&mut content).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(content, BLOB, "{what}");
    }
}

#[test]
fn a_name_of_content_is_that_of_a_file() {
    for (kind, expected) in [
        (b'1', "a hard link"),
        (b'2', "a symbolic link"),
        (b'3', "a device"),
        (b'4', "a device"),
        (b'5', "a directory"),
        (b'6', "a pipe"),
        (b'S', "a sparse file"),
        (b'Z', "an unknown type"),
    ] {
        let place = Place::new();
        let odd = raw(path().as_bytes(), kind, 0, b"");
        let layout = place.open(&with(&[odd])).unwrap();
        let error = layout.blob(&digest(), None).unwrap_err();
        assert!(matches!(error.kind(), LayoutErrorKind::NotAFile(_)), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.path().ends_with(path()), "{error}");

        let odd = raw(b"index.json", kind, 0, b"");
        let error = place.open(&with(&[odd])).unwrap_err();
        assert!(error.to_string().contains(expected) && error.path().ends_with("index.json"), "{error}");
    }
    // As GNU tar writes it with --format=pax.
    let place = Place::new();
    let sparse = [record("GNU.sparse.major", "1"), record("GNU.sparse.name", &path())].concat();
    let members = [raw(b"pax", b'x', sparse.len() as u64, &sparse), member("GNUSparseFile.1/x", BLOB)];
    let error = place.open(&with(&members)).unwrap().blob(&digest(), None).unwrap_err();
    assert!(error.to_string().contains("a sparse file"), "{error}");
}

/// What an archive is refused with.
fn refused(archive: &[u8]) -> String {
    let place = Place::new();
    let error = place.open(archive).expect_err("it is refused");
    assert!(error.path().starts_with(place.file()));
    error.kind().to_string()
}

#[test]
fn errors_explain_what_is_wrong_with_a_file() {
    let header = |change: &dyn Fn(&mut Header)| {
        let mut header = Header::new_gnu();
        header.set_size(0);
        header.set_path("x").unwrap();
        change(&mut header);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let mut flipped = with(&[member("x", b"")]);
    flipped[2048] ^= 1;
    let huge = vec![b'9'; 2 << 20];
    for (what, archive, expected) in [
        ("an empty file", vec![], "not a tar archive"),
        ("a text", b"hello\n".repeat(1000), "not a tar archive"),
        ("gzip", b"\x1f\x8b\x08\0".repeat(200), "compressed with gzip, and is read only uncompressed"),
        ("short gzip", b"\x1f\x8b\x08\0".to_vec(), "`gzip -d`"),
        ("zstd", b"\x28\xb5\x2f\xfd".repeat(200), "`zstd -d`"),
        ("bzip2", b"BZh91AY".repeat(200), "`bzip2 -d`"),
        ("xz", b"\xfd7zXZ\0".repeat(200), "`xz -d`"),
        ("no members", vec![0; 1024], "not found"),
        ("a large marker", with(&[member("oci-layout", &[b' '; 4097])]), "exceeds the limit of 4096 bytes"),
        ("half of a sparse map", sparse(1)[..700].to_vec(), "within `sparse`"),
        (
            "docker save",
            [member("manifest.json", b"[]"), vec![0; 1024]].concat(),
            "`skopeo copy docker-archive:",
        ),
        ("another tar", [member("readme", b"hello"), vec![0; 1024]].concat(), "not found"),
        ("a wrong checksum", flipped, "the header at byte 2048 has a wrong checksum"),
        (
            "a size that is no number",
            with(&[header(&|h| h.as_old_mut().size = *b"no number!!\0")]),
            "an invalid size",
        ),
        ("the largest size", with(&[header(&|h| h.set_size(u64::MAX))]), "it ends at byte 3584, within `x`"),
        ("a size beyond the end", with(&[header(&|h| h.set_size(1025))]), "truncated"),
        (
            "pax size beyond the end",
            with(&[pax("size", "18446744073709551615"), member("x", b"")]),
            "truncated",
        ),
        ("negative pax size", with(&[pax("size", "-1"), member("x", b"")]), "invalid pax records"),
        (
            "huge pax size",
            with(&[pax("size", "99999999999999999999"), member("x", b"")]),
            "invalid pax records",
        ),
        ("no pax records", with(&[raw(b"pax", b'x', 3, b"abc"), member("x", b"")]), "invalid pax records"),
        ("huge pax records", with(&[raw(b"pax", b'x', 2 << 20, &huge), member("x", b"")]), "too large"),
        ("a huge name", with(&[raw(b"name", b'L', 2 << 20, &huge), member("x", b"")]), "too large"),
        (
            "two names",
            with(&[raw(b"n", b'L', 2, b"a\0"), pax("path", "b"), member("x", b"")]),
            "the second one",
        ),
        (
            "two extensions",
            with(&[pax("size", "1"), pax("size", "2"), member("x", b"")]),
            "the second extended",
        ),
        ("a global name", with(&[raw(b"g", b'g', 9, b"9 path=a\n"), member("x", b"")]), "all members"),
        ("a directory with content", with(&[raw(b"x/", b'5', 3, b"abc")]), "gives a size"),
        ("an old directory with content", with(&[raw(b"x/", 0, 3, b"abc")]), "gives a size"),
        ("a link with content", with(&[raw(b"x", b'2', 3, b"abc")]), "gives a size"),
    ] {
        let error = refused(&archive);
        assert!(error.contains(expected), "{what}: {error:?} lacks {expected:?}");
    }
}

#[test]
fn an_archive_may_start_as_a_compressed_file_does() {
    let place = Place::new();
    place.open(&[member("BZh", b""), with(&[])].concat()).unwrap();
}

#[test]
fn a_path_that_is_not_a_file_is_refused() {
    let place = Place::new();
    let error = Layout::open_archive(place.directory.path()).unwrap_err();
    assert!(error.to_string().ends_with("expected a file, found a directory"), "{error}");
    let error = Layout::open_archive(place.file()).unwrap_err();
    assert!(matches!(error.kind(), LayoutErrorKind::Missing), "{error}");
    #[cfg(unix)]
    {
        let pipe = place.directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = Layout::open_archive(pipe).unwrap_err();
        assert!(matches!(error.kind(), LayoutErrorKind::NotAFile(_)), "{error}");
    }
}

/// The sample as an archive.
fn sample(place: &Place) -> (Memory, Descriptor, Vec<u8>) {
    let (memory, root) = Memory::sample();
    store(&place.file(), &memory, &root, Some(&name("latest")));
    let bytes = fs::read(place.file()).unwrap();
    (memory, root, bytes)
}

#[test]
fn a_truncated_archive_is_refused_wherever_it_ends() {
    let place = Place::new();
    let (_, _, bytes) = sample(&place);
    let end = bytes.len() - 1024;
    for length in (0..end + 512).step_by(100).chain([end - 1, end, end + 1, end + 511]) {
        let error = place.open(&bytes[..length]).expect_err("it is truncated");
        match error.kind() {
            LayoutErrorKind::Archive(InvalidArchive::NotTar) => assert!(length < 512),
            LayoutErrorKind::Archive(InvalidArchive::Truncated { length: stated, .. }) => {
                assert_eq!(*stated, length as u64);
            }
            _ => panic!("{length}: {error}"),
        }
    }
    for (length, expected) in [
        (end - 512, "within `index.json`"),
        (end - 600, "before its end marker"),
        (end, "before its end marker"),
    ] {
        let error = place.open(&bytes[..length]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} lacks {expected:?}");
    }
    // One block of zeros is an end, as for other programs.
    place.open(&bytes[..end + 512]).unwrap();
}

#[test]
fn an_archive_that_becomes_shorter_is_an_error_of_its_content() {
    let place = Place::new();
    let (memory, _, bytes) = sample(&place);
    let layout = place.open(&bytes).unwrap();
    let (digest, content) = memory.contents().last().unwrap();
    let mut blob = layout.blob(digest, None).unwrap();
    fs::OpenOptions::new().write(true).open(place.file()).unwrap().set_len(1024).unwrap();
    let error = blob.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("size mismatch: 0 bytes"), "{error}");
    let descriptor = Descriptor::new(MediaType::OCI_MANIFEST, digest.clone(), content.len() as u64);
    layout.manifest(&descriptor).unwrap_err();
}

#[test]
fn damage_is_found_by_a_check() {
    let place = Place::new();
    let (memory, _, mut bytes) = sample(&place);
    let layer = memory.contents().find(|(_, content)| content.starts_with(b"built for linux/amd64")).unwrap();
    let at = bytes.windows(layer.1.len()).position(|window| window == layer.1).unwrap();
    bytes[at] ^= 1;
    place.open(&bytes).unwrap();
    let findings: Vec<_> = check_archive(place.file(), None).unwrap().map(|finding| finding.detail).collect();
    assert!(!findings.is_empty());
    for finding in findings {
        assert!(finding.contains("digest mismatch"), "{finding}");
    }
    let root = Root::Named(name("other"));
    check_archive(place.file(), Some(&root)).unwrap_err();
    fs::write(place.file(), [0; 1024]).unwrap();
    assert!(check_archive(place.file(), None).unwrap_err().to_string().contains("oci-layout: not found"));
}

/// Whatever the bytes of an archive are, it is refused, or its content is verified.
#[test]
fn no_change_of_any_bytes_misleads() {
    let place = Place::new();
    let (memory, _, bytes) = sample(&place);
    let headers: Vec<usize> =
        (0..bytes.len() / 512).filter(|block| bytes[block * 512..].get(257..262) == Some(b"ustar")).collect();
    let mut opened = 0;
    for seed in 0..600 {
        let mut random = Random(seed);
        let mut changed = bytes.clone();
        for _ in 0..=random.below(3) {
            let header = headers[random.below(headers.len())] * 512;
            let at = header + random.below(512);
            changed[at] = random.byte();
            if random.below(4) > 0 {
                // Reached only with the right checksum.
                let mut fixed = Header::from_byte_slice(&changed[header..header + 512]).clone();
                fixed.set_cksum();
                changed[header..header + 512].copy_from_slice(fixed.as_bytes());
            }
        }
        let Ok(layout) = place.open(&changed) else { continue };
        opened += 1;
        for (digest, content) in memory.contents() {
            let mut read = Vec::new();
            if let Ok(mut blob) = layout.blob(digest, None)
                && blob.read_to_end(&mut read).is_ok()
            {
                assert_eq!(read, *content, "seed {seed}");
            }
            let _ = layout.bytes(digest);
        }
        if let Ok(walk) = layout.walk(&Root::Only, &WalkOptions::default()) {
            walk.for_each(drop);
        }
        check_archive(place.file(), None).unwrap().for_each(drop);
    }
    assert!((50..550).contains(&opened), "{opened} of 600 were opened");
}

#[test]
fn the_number_of_members_is_limited() {
    let place = Place::new();
    let mut file = fs::File::create(place.file()).unwrap();
    let many: Vec<u8> = member("x", b"").repeat(1 << 14);
    for _ in 0..16 {
        file.write_all(&many).unwrap();
    }
    file.write_all(&[0; 1024]).unwrap();
    let error = Layout::open_archive(place.file()).unwrap_err();
    assert!(error.to_string().contains("more than 262144 members"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_blob_may_be_larger_than_8_gib() {
    const SIZE: u64 = 9 << 30;
    for (what, mut head) in [
        ("GNU", raw(path().as_bytes(), b'0', SIZE, b"")),
        ("pax", [pax("size", &SIZE.to_string()), raw(path().as_bytes(), b'0', 0, b"")].concat()),
    ] {
        let place = Place::new();
        head = [member("oci-layout", marker()), member("index.json", INDEX), head].concat();
        let end = head.len() as u64 + SIZE;
        let mut file = fs::File::create(place.file()).unwrap();
        file.write_all(&head).unwrap();
        // The rest is a hole.
        file.set_len(end + 1024).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"last", end - 4).unwrap();
        let layout = Layout::open_archive(place.file()).unwrap();
        let blob = layout.open_unverified(&digest()).unwrap();
        assert_eq!(blob.size(), SIZE, "{what}");
        let mut last = [0; 8];
        assert_eq!(blob.read_at(&mut last, SIZE - 4).unwrap(), 4);
        assert_eq!(&last[..4], b"last");
    }
}

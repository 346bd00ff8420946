//! Reads the headers of an archive.
//!
//! The crate `tar` reads extended headers of any size into memory, so this reads the blocks of an archive
//! itself, and uses the crate for their fields.
//!
//! Source: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".

use std::collections::BTreeMap;

use oci_proto::Digest;
use oci_proto::layout::{BLOBS, INDEX, MARKER, blob_path};
use tar::{EntryType, GnuExtSparseHeader, Header};

use crate::archive::invalid::InvalidArchive;
use crate::archive::pax::Pax;
use crate::directory::kind::FileKind;
use crate::error::LayoutErrorKind;
use crate::positioned::Positioned;

/// The size of a header, and of the units in which content is stored.
const BLOCK: u64 = 512;
/// The maximum number of members, with extended headers: an archive of 100,000 blobs has fewer.
const MAX_MEMBERS: usize = 1 << 18;
/// The maximum size of a name, and of the records of an extended header.
const MAX_EXTENSION: u64 = 1 << 20;

/// A file that is stored without its zeros.
const SPARSE: &str = "a sparse file";

/// Formats that a user may take for an archive: the first bytes, a name, and the program that decompresses.
const COMPRESSED: [(&[u8], &str, &str); 4] = [
    (b"\x1f\x8b", "gzip", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd"),
    (b"BZh", "bzip2", "bzip2"),
    (b"\xfd7zXZ\0", "xz", "xz"),
];

/// The place of a file of a layout in an archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) start: u64,
    pub(super) size: u64,
    /// What it is, if it is not a regular file.
    pub(super) odd: Option<&'static str>,
}

/// The members of an archive that have names of a layout's files.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) members: BTreeMap<String, Member>,
    /// Whether there is a file that archives of Docker have.
    pub(super) is_docker: bool,
}

/// Reads the headers of all members.
///
/// Of several members with one name the last counts, as it does for programs that unpack the archive. Other
/// names are ignored, also those that lead out of the archive.
pub(super) fn scan(file: &Positioned, length: u64) -> Result<Found, LayoutErrorKind> {
    let mut found = Found::default();
    let mut described = Described::default();
    let mut at = 0;
    for _ in 0..MAX_MEMBERS {
        let Some(header) = read_header(file, at, length)? else { return Ok(found) };
        let wrong = |problem| LayoutErrorKind::from(InvalidArchive::Header { at, problem });
        let kind = header.entry_type();
        let mut start = at + BLOCK;
        if kind.is_gnu_sparse() {
            start = skip_sparse_map(file, &header, start, length)?;
        }
        let stated = header.entry_size().map_err(|_| wrong("has an invalid size"))?;
        let is_extension = matches!(
            kind,
            EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
        );
        let of_next = if is_extension { Described::default() } else { std::mem::take(&mut described) };
        let name = of_next.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let pax = of_next.pax.unwrap_or_default();
        let size = pax.size.unwrap_or(stated);
        let end = start.checked_add(size).filter(|end| *end <= length);
        let end = end.ok_or_else(|| truncated(length, &name))?;
        let extension = || {
            if size > MAX_EXTENSION {
                return Err(wrong("has an extension that is too large"));
            }
            let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
            let read = file.fill_at(&mut bytes, start)?;
            bytes.truncate(read);
            Ok(bytes)
        };
        let records = || Pax::parse(&extension()?).ok_or_else(|| wrong("has invalid pax records"));
        match kind {
            EntryType::GNULongName => described.set_name(extension()?).map_err(wrong)?,
            EntryType::GNULongLink => {}
            EntryType::XHeader => described.set_pax(records()?).map_err(wrong)?,
            // Those of real archives are comments.
            EntryType::XGlobalHeader if records()? == Pax::default() => {}
            EntryType::XGlobalHeader => {
                return Err(wrong("sets the name or size of all members, which is not supported"));
            }
            _ => {
                // Old archives have no other sign of a directory.
                let is_old_directory = matches!(kind, EntryType::Regular) && name.ends_with(b"/");
                let kind = if is_old_directory { EntryType::Directory } else { kind };
                // Programs disagree on whether content follows.
                if size > 0 && is_header_only(kind) {
                    return Err(wrong("gives a size to a link, a directory or a device"));
                }
                let odd = if pax.is_sparse { Some(SPARSE) } else { odd(kind) };
                found.is_docker |= name == b"manifest.json";
                if let Some(name) = layout_name(&name) {
                    found.members.insert(name, Member { start, size, odd });
                }
            }
        }
        at = end.checked_next_multiple_of(BLOCK).unwrap_or(end);
    }
    Err(InvalidArchive::TooMany(MAX_MEMBERS).into())
}

/// Properties of the next member, from extended headers before it.
#[derive(Default)]
struct Described {
    name: Option<Vec<u8>>,
    pax: Option<Pax>,
}

impl Described {
    /// Takes the content of a GNU header for a long name, which ends with a zero.
    fn set_name(&mut self, mut name: Vec<u8>) -> Result<(), &'static str> {
        let end = name.iter().position(|byte| *byte == 0);
        name.truncate(end.unwrap_or(name.len()));
        // Programs disagree on which one counts.
        match self.name.replace(name) {
            Some(_) => Err("is the second one that names a member"),
            None => Ok(()),
        }
    }

    fn set_pax(&mut self, mut pax: Pax) -> Result<(), &'static str> {
        if let Some(path) = pax.path.take() {
            self.set_name(path)?;
        }
        match self.pax.replace(pax) {
            Some(_) => Err("is the second extended header of a member"),
            None => Ok(()),
        }
    }
}

/// Reads a header, and checks its checksum. `None` is the end of the archive, a block of zeros.
fn read_header(file: &Positioned, at: u64, length: u64) -> Result<Option<Header>, LayoutErrorKind> {
    let mut header = Header::new_old();
    let block = header.as_mut_bytes();
    let read = file.fill_at(block, at)?;
    let is_whole = read == block.len();
    if is_whole && block.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    // The checksum counts its own field as spaces.
    let others = block[..148].iter().chain(&block[156..]);
    let sum = others.map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
    if is_whole && header.cksum().is_ok_and(|stated| stated == sum) {
        return Ok(Some(header));
    }
    Err(if at == 0 {
        not_tar(header.as_bytes())
    } else if is_whole {
        InvalidArchive::Header { at, problem: "has a wrong checksum" }
    } else {
        InvalidArchive::Truncated { length, missing: "before its end marker".to_owned() }
    }
    .into())
}

/// What a file is that does not start with a header.
fn not_tar(start: &[u8]) -> InvalidArchive {
    let compressed = COMPRESSED.into_iter().find(|(magic, ..)| start.starts_with(magic));
    match compressed {
        Some((_, format, program)) => InvalidArchive::Compressed { format, program },
        None => InvalidArchive::NotTar,
    }
}

/// Skips the blocks that list the parts of a sparse file. Returns the start of its content.
fn skip_sparse_map(
    file: &Positioned,
    header: &Header,
    mut at: u64,
    length: u64,
) -> Result<u64, LayoutErrorKind> {
    let mut is_extended = header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
    let mut map = GnuExtSparseHeader::new();
    while is_extended {
        if file.fill_at(map.as_mut_bytes(), at)? < map.as_bytes().len() {
            return Err(truncated(length, &header.path_bytes()));
        }
        is_extended = map.is_extended();
        at += BLOCK;
    }
    Ok(at)
}

/// What a member is, unless it is a regular file.
fn odd(kind: EntryType) -> Option<&'static str> {
    match kind {
        EntryType::Regular | EntryType::Continuous => None,
        EntryType::Directory => Some(FileKind::Directory.describe()),
        EntryType::Symlink => Some(FileKind::Link.describe()),
        EntryType::Link => Some("a hard link"),
        EntryType::Char | EntryType::Block | EntryType::Fifo => Some(FileKind::Other.describe()),
        EntryType::GNUSparse => Some(SPARSE),
        _ => Some("a member of an unknown type"),
    }
}

fn is_header_only(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::Directory
            | EntryType::Symlink
            | EntryType::Link
            | EntryType::Char
            | EntryType::Block
            | EntryType::Fifo
    )
}

/// The name of a file of a layout, in the form of [`blob_path`].
fn layout_name(name: &[u8]) -> Option<String> {
    let name = str::from_utf8(name).ok().filter(|name| !name.starts_with('/'))?;
    let parts = name.split('/').filter(|part| !matches!(*part, "" | "."));
    match parts.take(4).collect::<Vec<_>>()[..] {
        [file @ (MARKER | INDEX)] => Some(file.to_owned()),
        [BLOBS, algorithm, encoded] => {
            let digest: Digest = format!("{algorithm}:{encoded}").parse().ok()?;
            Some(blob_path(&digest))
        }
        _ => None,
    }
}

fn truncated(length: u64, name: &[u8]) -> LayoutErrorKind {
    let name: String = String::from_utf8_lossy(name).chars().flat_map(char::escape_debug).take(200).collect();
    InvalidArchive::Truncated { length, missing: format!("within `{name}`") }.into()
}

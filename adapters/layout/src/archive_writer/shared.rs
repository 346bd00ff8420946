//! The state that an archive writer shares with its blobs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use oci_proto::layout::{MARKER, blob_path, marker};
use oci_proto::{Descriptor, Digest};
use tar::{Builder, Header};

use crate::directory::Directory;
use crate::error::{LayoutError, LayoutErrorKind};
use crate::positioned::Positioned;

/// The size of the units in which content is stored.
const BLOCK: u64 = 512;
/// An archive ends with two blocks of zeros.
const END: u64 = 2 * BLOCK;

/// The temporary file, and the places of its members.
///
/// The size of a blob is known before its content, so each gets its place when it is started, and several can
/// be written at the same time.
#[derive(Debug)]
pub(super) struct Shared {
    directory: Directory,
    /// The temporary name.
    partial: String,
    file: Positioned,
    /// The path that the archive will have, for errors.
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The offset of the next member.
    end: u64,
    places: BTreeMap<Digest, Place>,
}

#[derive(Debug)]
struct Place {
    /// The offset of the first header.
    start: u64,
    /// The offset of the next member.
    end: u64,
    size: u64,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Writing,
    Dropped,
    Complete,
}

impl Shared {
    /// Writes the first member, which marks a layout.
    pub(super) fn start(
        directory: Directory,
        partial: String,
        file: File,
        path: &Path,
    ) -> Result<Self, LayoutError> {
        let (file, path) = (Positioned::new(file), path.to_owned());
        let shared = Self { directory, partial, file, path, state: Mutex::default() };
        let marked = shared.add_file(MARKER, marker());
        marked.inspect_err(|_| shared.remove())?;
        Ok(shared)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The size of a blob, if it is complete.
    pub(super) fn complete(&self, digest: &Digest) -> Option<u64> {
        let state = self.state();
        let place = state.places.get(digest)?;
        (place.progress == Progress::Complete).then_some(place.size)
    }

    /// Reserves a place for a blob, and writes its header. Returns the offset of its content.
    pub(super) fn begin(&self, descriptor: &Descriptor) -> Result<u64, LayoutError> {
        let Descriptor { digest, size, .. } = descriptor;
        let name = blob_path(digest);
        let head = head(&name, *size).map_err(|error| self.wrong(&name, error))?;
        let mut state = self.state();
        let start = match state.places.get_mut(digest) {
            Some(place) if place.size != *size => {
                let (expected, found) = (*size, place.size);
                return Err(self.wrong(&name, LayoutErrorKind::Size { expected, found }));
            }
            Some(place) if place.progress != Progress::Dropped => {
                return Err(self.wrong(&name, LayoutErrorKind::Busy));
            }
            Some(place) => {
                place.progress = Progress::Writing;
                place.start
            }
            None => {
                let start =
                    state.reserve(head.len() as u64, *size).map_err(|error| self.wrong(&name, error))?;
                let place = Place { start, end: state.end, size: *size, progress: Progress::Writing };
                state.places.insert(digest.clone(), place);
                start
            }
        };
        drop(state);
        let written = self.file.write_at(&head, start);
        written.map_err(|error| {
            self.ended(digest, false);
            self.wrong(&name, error)
        })?;
        Ok(start + head.len() as u64)
    }

    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    /// Notes that a blob is complete, or was dropped before.
    pub(super) fn ended(&self, digest: &Digest, is_complete: bool) {
        if let Some(place) = self.state().places.get_mut(digest) {
            place.progress = if is_complete { Progress::Complete } else { Progress::Dropped };
        }
    }

    /// Gives the place of a blob back that was dropped, if it is the last one. What was written of it is cut off.
    pub(super) fn discard(&self, digest: &Digest) -> Result<(), LayoutError> {
        let mut state = self.state();
        let place = state.places.get(digest);
        let is_last = |place: &&Place| place.progress == Progress::Dropped && place.end == state.end;
        let Some(start) = place.filter(is_last).map(|place| place.start) else { return Ok(()) };
        self.file.with(|file| file.set_len(start)).map_err(|error| self.wrong(&blob_path(digest), error))?;
        state.end = start;
        state.places.remove(digest);
        Ok(())
    }

    /// Writes the last member and the end of the archive, if all blobs are complete.
    pub(super) fn end(&self, name: &str, content: &[u8]) -> Result<(), LayoutError> {
        let state = self.state();
        if let Some((digest, _)) = state.places.iter().find(|(_, place)| place.progress != Progress::Complete)
        {
            return Err(self.wrong("", LayoutErrorKind::Incomplete(digest.clone())));
        }
        drop(state);
        self.add_file(name, content)?;
        // The file is as long as it was written, so what is added has only zeros.
        let length = self.state().end.saturating_add(END);
        self.file.with(|file| file.set_len(length)).map_err(|error| self.wrong("", error))
    }

    pub(super) fn sync_file(&self) -> Result<(), LayoutError> {
        self.file.with(|file| self.directory.sync_file(&self.partial, file))
    }

    /// Gives the archive its name.
    pub(super) fn rename(&self, name: &OsStr) -> Result<(), LayoutError> {
        self.directory.rename(&self.partial, &self.directory, name)
    }

    /// Removes the temporary file.
    pub(super) fn remove(&self) {
        // There is nobody to report an error to.
        let _ = self.directory.remove(&self.partial);
    }

    /// An error of a file in the archive, or of the archive if the name is empty.
    pub(super) fn wrong(&self, name: &str, kind: impl Into<LayoutErrorKind>) -> LayoutError {
        match name {
            "" => LayoutError::new(&self.path, kind),
            _ => LayoutError::new(&self.path.join(name), kind),
        }
    }

    /// Writes a whole file that is not a blob.
    fn add_file(&self, name: &str, content: &[u8]) -> Result<(), LayoutError> {
        let size = content.len() as u64;
        let written = head(name, size).and_then(|mut member| {
            let start = self.state().reserve(member.len() as u64, size)?;
            member.extend_from_slice(content);
            self.file.write_at(&member, start)
        });
        written.map_err(|error| self.wrong(name, error))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Reserves a place for a member, and returns its offset.
    fn reserve(&mut self, head: u64, size: u64) -> io::Result<u64> {
        let end = self.end.checked_add(head).and_then(|start| start.checked_add(size));
        let end = end.and_then(|end| end.checked_next_multiple_of(BLOCK));
        // No file is larger.
        let end = end.filter(|end| i64::try_from(end.saturating_add(END)).is_ok());
        let end = end.ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(std::mem::replace(&mut self.end, end))
    }
}

/// The headers of a regular file: more than one if its name is long.
fn head(name: &str, size: u64) -> io::Result<Vec<u8>> {
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    let mut builder = Builder::new(Vec::new());
    builder.append_data(&mut header, name, io::empty())?;
    Ok(std::mem::take(builder.get_mut()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_names_of_any_length_fit_in_headers() {
        for size in [0, 1, (8 << 30) - 1, 8 << 30, 1 << 50] {
            let head = head("blobs/sha256/00", size).unwrap();
            assert_eq!(head.len(), 512);
            assert_eq!(Header::from_byte_slice(&head).entry_size().unwrap(), size);
        }
        // The path of a sha512 digest is longer than the field of a header.
        let long = format!("blobs/sha512/{}", "0".repeat(128));
        let head = head(&long, 1 << 50).unwrap();
        assert_eq!(head.len(), 3 * 512);
        assert!(head[512..].starts_with(long.as_bytes()));
        assert_eq!(Header::from_byte_slice(&head[1024..]).entry_size().unwrap(), 1 << 50);
    }
}

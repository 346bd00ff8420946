//! The files of unfinished uploads: the bytes, and beside them the repository.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::ops::Range;

use oci_proto::Repository;
use oci_proto::server::UploadId;

use crate::directory::Directory;
use crate::directory::kind::{Access, has_one_name};
use crate::error::{LayoutError, LayoutErrorKind};
use crate::positioned::Positioned;

/// The directory for uploads. No repository can have this name.
pub(super) const UPLOADS: &str = ".uploads";
/// The size of reads from an upload.
const CHUNK: u64 = 256 << 10;

/// The directory for uploads.
#[derive(Clone, Debug)]
pub(super) struct Uploads(Directory);

/// An upload that the storage has, after a restart.
#[derive(Clone, Debug)]
pub(super) struct Unfinished {
    pub(super) repository: Repository,
    pub(super) id: UploadId,
    pub(super) size: u64,
}

/// An upload to which bytes are written.
#[derive(Debug)]
pub(super) struct Open {
    id: UploadId,
    file: Positioned,
}

impl Uploads {
    pub(super) fn open(root: &Directory) -> Result<Self, LayoutError> {
        let (directory, is_made) = root.make_directory(UPLOADS)?;
        if is_made {
            root.sync()?;
        }
        Ok(Self(directory))
    }

    /// Opens the directory, unless there is none.
    pub(super) fn existing(root: &Directory) -> Result<Option<Self>, LayoutError> {
        match root.directory(UPLOADS) {
            Ok(directory) => Ok(Some(Self(directory))),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.0
    }

    /// Writes bytes, with the file that `open` has if it is that of the upload. `grow` is called with the new size
    /// before.
    pub(super) fn write(
        &self,
        open: &mut Option<Open>,
        (repository, id): (&Repository, &UploadId),
        offset: u64,
        bytes: &[u8],
        grow: impl FnOnce(u64) -> Result<(), LayoutError>,
    ) -> Result<(), LayoutError> {
        let name = id.as_str();
        let open = match open.take_if(|open| open.id == *id) {
            Some(found) => open.insert(found),
            None => open.insert(Open { id: id.clone(), file: self.file(repository, id, offset)? }),
        };
        let wrong = |error| self.0.wrong(name, error);
        let size = open.file.with(File::metadata).map_err(|error| wrong(error.into()))?.len();
        if offset > size {
            return Err(wrong(LayoutErrorKind::Order { expected: size, given: offset }));
        }
        if offset < size {
            // These bytes do not count, and must not after a restart either.
            let cut = self.0.attempt("write", name, || open.file.with(|file| file.set_len(offset)));
            cut.map_err(|error| wrong(error.into()))?;
        }
        grow(offset.saturating_add(bytes.len() as u64))?;
        self.0
            .attempt("write", name, || open.file.write_at(bytes, offset))
            .map_err(|error| wrong(error.into()))
    }

    /// Waits until the bytes are on disk. An upload without bytes has no file.
    pub(super) fn sync(&self, open: &mut Option<Open>, id: &UploadId) -> Result<(), LayoutError> {
        if let Some(open) = open.take_if(|open| open.id == *id) {
            return open.file.with(|file| self.0.sync_file(id.as_str(), file));
        }
        match self.0.open_file(id.as_str(), Access::Write) {
            Ok((file, _)) => self.0.sync_file(id.as_str(), &file),
            Err(error) if error.is_missing() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Passes bytes to `take`, in parts.
    pub(super) fn read(
        &self,
        id: &UploadId,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), LayoutError> {
        let (file, size) = self.0.open_file(id.as_str(), Access::Read)?;
        if size < range.end {
            return Err(self
                .0
                .wrong(id.as_str(), LayoutErrorKind::Size { expected: range.end, found: size }));
        }
        let file = Positioned::new(file);
        let mut at = range.start;
        let mut buffer = vec![0; usize::try_from(CHUNK).unwrap_or(usize::MAX)];
        while at < range.end {
            let part = usize::try_from((range.end - at).min(CHUNK)).unwrap_or(usize::MAX);
            let read = file.fill_at(&mut buffer[..part], at);
            let read = read.map_err(|error| self.0.wrong(id.as_str(), error))?;
            if read < part {
                let found = at.saturating_add(read as u64);
                let kind = LayoutErrorKind::Size { expected: range.end, found };
                return Err(self.0.wrong(id.as_str(), kind));
            }
            take(&buffer[..part]);
            at += part as u64;
        }
        Ok(())
    }

    /// Prepares the first bytes of an upload to become a blob, whose file gets another name. Returns its directory, or
    /// `None` if the upload has no file.
    pub(super) fn finish(&self, id: &UploadId, size: u64) -> Result<Option<&Directory>, LayoutError> {
        let name = id.as_str();
        let (file, found) = match self.0.open_file(name, Access::Write) {
            Ok(found) => found,
            Err(error) if error.is_missing() && size == 0 => return Ok(None),
            Err(error) => return Err(error),
        };
        if found < size {
            return Err(self.0.wrong(name, LayoutErrorKind::Size { expected: size, found }));
        }
        if found > size {
            let cut = self.0.attempt("write", name, || file.set_len(size));
            cut.map_err(|error| self.0.wrong(name, error))?;
        }
        // It was synced already, but not with this size.
        self.0.sync_file(name, &file)?;
        Ok(Some(&self.0))
    }

    /// Removes an upload. If that fails, the next start finds it again.
    pub(super) fn remove(&self, id: &UploadId) {
        let _ = self.0.remove(id.as_str());
        let _ = self.0.remove(&record(id.as_str()));
    }

    /// Finds the uploads of an earlier process, and removes everything else.
    pub(super) fn restore(&self) -> Result<Vec<Unfinished>, LayoutError> {
        let (found, rest) = self.scan()?;
        for name in rest {
            self.0.remove(&name.to_string_lossy())?;
        }
        Ok(found)
    }

    /// Finds the uploads of an earlier process, and the names of everything else.
    pub(super) fn scan(&self) -> Result<(Vec<Unfinished>, Vec<OsString>), LayoutError> {
        let mut names = self.0.names()?;
        let found = names.iter().filter_map(|name| self.unfinished(&name.to_string_lossy()).transpose());
        let found: Vec<_> = found.collect::<Result<_, _>>()?;
        let kept: BTreeSet<_> =
            found.iter().flat_map(|it| [it.id.to_string(), record(it.id.as_str())]).collect();
        names.retain(|name| !kept.contains(&*name.to_string_lossy()));
        Ok((found, names))
    }

    /// Returns the upload with this name, or `None` if the name is not that of a whole one.
    fn unfinished(&self, name: &str) -> Result<Option<Unfinished>, LayoutError> {
        let Ok(id) = name.parse::<UploadId>() else { return Ok(None) };
        let Some(repository) = found(self.0.read(&record(name), Repository::MAX_LEN as u64))? else {
            return Ok(None);
        };
        let Some(repository) = str::from_utf8(&repository).ok().and_then(|text| text.parse().ok()) else {
            return Ok(None);
        };
        let Some((file, size)) = found(self.0.open_file(name, Access::Write))? else { return Ok(None) };
        // If it has two names, it became a blob before the process ended, and must not be changed. If it cannot be synced,
        // bytes may be lost although a later attempt succeeds.
        let is_whole = has_one_name(&file) && self.0.sync_file(name, &file).is_ok();
        Ok(is_whole.then_some(Unfinished { repository, id, size }))
    }

    /// Opens the file of an upload. The first bytes create it, after the record of its repository.
    fn file(&self, repository: &Repository, id: &UploadId, offset: u64) -> Result<Positioned, LayoutError> {
        let name = id.as_str();
        match self.0.open_file(name, Access::Write) {
            Ok((file, _)) if has_one_name(&file) => return Ok(Positioned::new(file)),
            Ok(_) => return Err(self.0.wrong(name, LayoutErrorKind::NotAFile("a file with several names"))),
            Err(error) if !error.is_missing() || offset > 0 => return Err(error),
            Err(_) => {}
        }
        let record = record(name);
        let file = self.0.create(&record)?;
        self.0.write_file(&record, &file, repository.as_str().as_bytes())?;
        self.0.sync_file(&record, &file)?;
        let file = self.0.create(name)?;
        self.0.sync()?;
        Ok(Positioned::new(file))
    }
}

/// Returns `None` if what was opened is missing or of another kind. An upload is not given up for any other error.
fn found<T>(opened: Result<T, LayoutError>) -> Result<Option<T>, LayoutError> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.is_missing() || !matches!(error.kind(), LayoutErrorKind::Io(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name of the file with the repository. No id has a dot.
fn record(id: &str) -> String {
    format!("{id}.repository")
}

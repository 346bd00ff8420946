//! Content that is sent: one blob, or a tree.

use std::fs::{File, Metadata};
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use oci_proto::server::{Content as _, Memory};
use oci_proto::{Algorithm, Descriptor, Digest, Evidence, Hasher, Manifest, MediaType};

/// The content of a blob, which can be read from any position, several times.
///
/// An upload that resumes, or begins again, opens the content again. Bytes in memory are sources, and so are
/// files as [`FileSource`]. The methods block: an asynchronous client calls them on blocking threads.
pub trait BlobSource: Send + Sync {
    /// Returns a reader of these bytes of the content.
    ///
    /// The client reads at most as many bytes as the range has. If the content ends before, so does the reader. The
    /// upload fails if the content is shorter than its descriptor says, or longer: the last range that is opened ends
    /// one byte after it.
    ///
    /// # Errors
    /// Returns an error if the content cannot be opened. It should name the content, for example by its path.
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + Send>>;
}

/// The documents and blobs of a tree, for example an image layout on disk.
///
/// The client verifies everything that it sends. The methods block, as those of [`BlobSource`].
pub trait TreeSource: Send + Sync {
    /// Returns the bytes of a manifest or an index.
    ///
    /// # Errors
    /// Returns an error that names the document if it is missing or cannot be read.
    fn document(&self, descriptor: &Descriptor) -> io::Result<Bytes>;

    /// Returns the source of a blob. Only the digest and the size of the descriptor are certain to be those in
    /// the document that refers to the blob; the media type may be generic.
    ///
    /// # Errors
    /// Returns an error that names the blob if it is missing.
    fn blob(&self, descriptor: &Descriptor) -> io::Result<Box<dyn BlobSource>>;

    /// Returns the descriptors of the images and indexes whose subject is this one, such as signatures. A push with
    /// [`PushOptions::referrers`](oci_proto::PushOptions::referrers) sends them too.
    ///
    /// The provided method returns none.
    ///
    /// # Errors
    /// Returns an error if they cannot be found out.
    fn referrers(&self, subject: &Descriptor) -> io::Result<Vec<Descriptor>> {
        let _ = subject;
        Ok(Vec::new())
    }
}

impl<S: BlobSource + ?Sized> BlobSource for Box<S> {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        (**self).open(range)
    }
}

impl<S: BlobSource + ?Sized> BlobSource for Arc<S> {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        (**self).open(range)
    }
}

impl<T: TreeSource + ?Sized> TreeSource for Arc<T> {
    fn document(&self, descriptor: &Descriptor) -> io::Result<Bytes> {
        (**self).document(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> io::Result<Box<dyn BlobSource>> {
        (**self).blob(descriptor)
    }

    fn referrers(&self, subject: &Descriptor) -> io::Result<Vec<Descriptor>> {
        (**self).referrers(subject)
    }
}

impl BlobSource for Bytes {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        Ok(part(self.clone(), range))
    }
}

impl BlobSource for Arc<[u8]> {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        Ok(part(self.clone(), range))
    }
}

impl BlobSource for &'static [u8] {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        Ok(part(*self, range))
    }
}

fn part(content: impl AsRef<[u8]> + Send + 'static, range: Range<u64>) -> Box<dyn Read + Send> {
    let mut content = Cursor::new(content);
    content.set_position(range.start);
    Box::new(content.take(range.end.saturating_sub(range.start)))
}

/// Sends what was added to a registry in memory.
impl TreeSource for Memory {
    fn document(&self, descriptor: &Descriptor) -> io::Result<Bytes> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("{} is missing", descriptor.digest));
        self.bytes(&descriptor.digest).ok_or_else(missing)
    }

    fn blob(&self, descriptor: &Descriptor) -> io::Result<Box<dyn BlobSource>> {
        Ok(Box::new(self.document(descriptor)?))
    }

    fn referrers(&self, subject: &Descriptor) -> io::Result<Vec<Descriptor>> {
        let refers = |(digest, bytes): (&Digest, &Bytes)| {
            // Most content is no document.
            let manifest = Manifest::read(bytes.clone(), Evidence::default()).ok()?;
            let is_one = manifest.subject().is_some_and(|named| *named.digest() == subject.digest);
            let descriptor =
                Descriptor::new(manifest.media_type().clone(), digest.clone(), bytes.len() as u64);
            is_one.then_some(descriptor)
        };
        Ok(self.contents().filter_map(refers).collect())
    }
}

/// A file as the content of a blob.
///
/// Reads state their position, so that several of them, also at other positions of the same handle, are
/// independent. The file must not change while it is sent: if it does, the upload fails.
#[derive(Clone, Debug)]
pub struct FileSource(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    file: File,
    path: PathBuf,
}

impl FileSource {
    /// Opens a file.
    ///
    /// # Errors
    /// Returns an error with the path if the file cannot be opened, or is not a regular file.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        // Opening a pipe waits for its writer, and devices may react to being opened.
        let found = std::fs::metadata(path).and_then(|found| check_regular(&found));
        let opened = found.and_then(|()| File::open(path)).map_err(|error| named(path, &error))?;
        let opened = Self::of(opened, path);
        // It may have been replaced since.
        check_regular(&opened.metadata()?).map_err(|error| named(path, &error))?;
        Ok(opened)
    }

    /// Takes an open file. Errors name it by `path`.
    pub fn of(file: File, path: impl Into<PathBuf>) -> Self {
        Self(Arc::new(Opened { file, path: path.into() }))
    }

    /// Reads the whole file, and returns its descriptor.
    ///
    /// # Errors
    /// Returns an error with the path if the file cannot be read.
    pub fn describe(&self, media_type: MediaType, algorithm: Algorithm) -> io::Result<Descriptor> {
        let mut reader = RangeReader { content: self.clone(), range: 0..u64::MAX };
        let mut hasher = Hasher::new(algorithm);
        let mut buffer = vec![0; 256 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(Descriptor::new(media_type, hasher.finish(), reader.range.start)),
                Ok(read) => hasher.update(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The current size of the file in bytes.
    ///
    /// # Errors
    /// Returns an error with the path if the system does not state it.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn metadata(&self) -> io::Result<Metadata> {
        self.0.file.metadata().map_err(|error| named(&self.0.path, &error))
    }
}

impl BlobSource for FileSource {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(RangeReader { content: self.clone(), range }))
    }
}

/// Content that can be read at any position.
pub(crate) trait ReadAt {
    /// Reads some bytes at a position; none only at the end.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// The path of the content, for errors.
    fn path(&self) -> &Path;
}

/// Reads a range of some content. Its position is its own.
pub(crate) struct RangeReader<C> {
    pub(crate) content: C,
    pub(crate) range: Range<u64>,
}

impl<C: ReadAt> Read for RangeReader<C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.range.end.saturating_sub(self.range.start);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.content.read_at(&mut buffer[..length], self.range.start);
        let read = read.map_err(|error| named(self.content.path(), &error))?;
        self.range.start += read as u64;
        Ok(read)
    }
}

impl ReadAt for FileSource {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        read_at(&self.0.file, buffer, position)
    }

    fn path(&self) -> &Path {
        &self.0.path
    }
}

/// Fails unless a file can be read at any position, and has a size.
fn check_regular(found: &Metadata) -> io::Result<()> {
    if found.is_dir() {
        Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory, not a file"))
    } else if !found.is_file() {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a pipe, a socket or a device, not a regular file",
        ))
    } else {
        Ok(())
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, position)
}

/// Moves the cursor of the handle, but reads at the given position all the same.
#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, position)
}

#[cfg(not(any(unix, windows)))]
fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Adds the path of a file to an error.
pub(crate) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &dyn BlobSource, range: Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        source.open(range).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn every_source_is_read_from_any_position_up_to_the_end_of_the_range() {
        const CONTENT: &[u8] = b"0123456789";
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("content");
        std::fs::write(&path, CONTENT).unwrap();
        let file = FileSource::open(&path).unwrap();
        let sources: [(&str, &dyn BlobSource); 5] = [
            ("Bytes", &Bytes::from_static(CONTENT)),
            ("Arc<[u8]>", &Arc::<[u8]>::from(CONTENT)),
            ("a static slice", &CONTENT),
            ("a file", &file),
            ("a shared source", &Arc::new(file.clone())),
        ];
        for (name, source) in sources {
            for (range, expected) in [
                (0..10, "0123456789"),
                (3..7, "3456"),
                (10..10, ""),
                // The content is shorter than its descriptor says.
                (8..20, "89"),
                (15..20, ""),
            ] {
                assert_eq!(read(source, range.clone()), expected.as_bytes(), "{name}: {range:?}");
            }
        }
        assert_eq!(file.size().unwrap(), 10);
        let described = file.describe(MediaType::OCTET_STREAM, Algorithm::Sha512).unwrap();
        assert_eq!(described.digest, Digest::of(Algorithm::Sha512, CONTENT));
        assert_eq!(described.size, 10);
    }

    #[test]
    fn readers_of_one_file_are_independent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("content");
        std::fs::write(&path, b"0123456789").unwrap();
        let file = FileSource::open(&path).unwrap();
        let mut readers = [file.open(0..10).unwrap(), file.open(5..10).unwrap()];
        let mut buffer = [0; 2];
        let mut taken = Vec::new();
        for reader in [0, 1, 0, 1] {
            readers[reader].read_exact(&mut buffer).unwrap();
            taken.extend_from_slice(&buffer);
        }
        assert_eq!(taken, b"01562378");
    }

    #[test]
    fn errors_of_files_have_the_path() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path().join("none"), directory.path().to_owned()] {
            let error = FileSource::open(&path).unwrap_err();
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }
    #[cfg(unix)]
    #[test]
    fn only_regular_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        for (path, expected) in [
            (pipe, "not a regular file"),
            (link, "not a regular file"),
            (PathBuf::from("/dev/null"), "not a regular file"),
            (directory.path().to_owned(), "a directory, not a file"),
        ] {
            let (done, over) = std::sync::mpsc::channel();
            let opening = path.clone();
            std::thread::spawn(move || {
                done.send(FileSource::open(opening).unwrap_err().to_string()).unwrap();
            });
            let error = over.recv_timeout(std::time::Duration::from_secs(10));
            let error = error.unwrap_or_else(|_| panic!("{} is opened, or blocks", path.display()));
            assert!(error.starts_with(&path.display().to_string()) && error.ends_with(expected), "{error}");
        }
    }
}

//! `ocip blob`.

use std::fs::{self, File, Permissions};
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::args::{BlobArgs, CommonArgs};
use crate::content_source::ContentSource;
use crate::output::Failure;
use crate::stderr::draw_alone;
use crate::temporary;

pub(crate) fn run(
    command: &BlobArgs,
    common: &CommonArgs,
    source: &ContentSource<'_>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let to_terminal = io::stdout().is_terminal();
    match command.output.as_deref() {
        None if to_terminal && !command.raw => Err(Failure::usage("refusing to write a blob to a terminal")
            .with_hint("write to a file with --output FILE, or to the terminal anyway with --raw, or escaped with `--output -`")),
        Some(path) if path != Path::new("-") => {
            let mut file = OutputFile::open(path)?;
            copy(command, common, source, file.writer(), &|error| cannot_write(path, &error), false)?;
            file.keep(path)
        }
        _ => copy(command, common, source, out, &Failure::from, to_terminal),
    }
}

fn copy(
    command: &BlobArgs,
    common: &CommonArgs,
    source: &ContentSource<'_>,
    to: &mut dyn Write,
    cannot_write: &dyn Fn(io::Error) -> Failure,
    to_terminal: bool,
) -> Result<(), Failure> {
    let progress = draw_alone(command.size, common.quiet || to_terminal);
    let mut from = source.blob(command.size)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).map_err(|error| source.read_failure(error))?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        to.write_all(bytes).map_err(cannot_write)?;
        progress.inc(bytes.len() as u64);
    }
    to.flush().map_err(cannot_write)?;
    progress.finish_and_clear();
    Ok(())
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format_args!("could not write to {}: {error}", path.display()))
}

/// The destination of `--output`.
enum OutputFile {
    /// A temporary file that is renamed once it is complete, or removed if it is dropped or a signal comes before.
    Fresh(NamedTempFile, PathBuf),
    /// A device or a pipe, which cannot be replaced.
    Special(File),
}

impl OutputFile {
    fn open(path: &Path) -> Result<Self, Failure> {
        let usage = |error| Failure::usage(format_args!("--output {}: {error}", path.display()));
        let (name, permissions) = match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(usage(io::ErrorKind::IsADirectory.into())),
            Ok(found) if !found.is_file() => {
                let file = File::options().write(true).open(path).map_err(usage)?;
                return Ok(Self::Special(file));
            }
            // A link is kept, and its target replaced.
            Ok(found) => (fs::canonicalize(path).map_err(usage)?, Some(found.permissions())),
            Err(_) => (path.to_owned(), of_new_file()),
        };
        let directory = match name.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        // The error of a temporary file would contain its name.
        fs::metadata(directory).map_err(usage)?;
        let file = temporary::file_in(directory, permissions).map_err(usage)?;
        Ok(Self::Fresh(file, name))
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Fresh(file, _) => file,
            Self::Special(file) => file,
        }
    }

    fn keep(self, path: &Path) -> Result<(), Failure> {
        match self {
            Self::Fresh(file, name) => {
                file.persist(name).map_err(|error| cannot_write(path, &error.error))?;
                Ok(())
            }
            Self::Special(_) => Ok(()),
        }
    }
}

/// The permissions of a new file, before the user's umask. A temporary file would be accessible only to its owner.
#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "not on other systems")]
fn of_new_file() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt as _;
    Some(Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn of_new_file() -> Option<Permissions> {
    None
}

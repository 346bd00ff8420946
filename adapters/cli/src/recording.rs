//! The recording of a command.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use oci_proto::record::Keep;

use crate::output::Failure;

/// The file to which the conversation of a command is recorded, as it happens.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    path: PathBuf,
    keep: Keep,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    file: File,
    is_begun: bool,
    /// The first failure to write, after which nothing more is written.
    failed: Option<io::Error>,
}

impl Recording {
    /// Creates the file, which must not exist. Only its owner can read it.
    pub(crate) fn create(path: &Path, with_bodies: bool) -> Result<Self, Failure> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| {
            let failure = Failure::usage(format_args!("could not create {}: {error}", path.display()));
            match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    failure.with_hint("a recording replaces no file; remove it, or choose another name")
                }
                _ => failure,
            }
        })?;
        let keep = if with_bodies { Keep::Everything } else { Keep::Documents };
        let state = Arc::new(Mutex::new(State { file, is_begun: false, failed: None }));
        Ok(Self { path: path.to_owned(), keep, state })
    }

    pub(crate) fn keep(&self) -> Keep {
        self.keep
    }

    /// Writes the text of a step.
    pub(crate) fn write(&self, text: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_begun = true;
        if state.failed.is_none()
            && let Err(error) = state.file.write_all(text.as_bytes())
        {
            state.failed = Some(error);
        }
    }

    /// Returns the result of the command, or a failure if it succeeded but is not recorded. If it failed, too,
    /// that it is not recorded completely is printed. Removes a file in which
    /// nothing was recorded.
    pub(crate) fn end(&self, result: Result<(), Failure>) -> Result<(), Failure> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path.display();
        if !state.is_begun {
            // It is empty.
            let _ = fs::remove_file(&self.path);
            let nothing = "nothing was recorded: the command contacted no registry";
            return result.and(Err(Failure::failed(nothing)));
        }
        match &state.failed {
            Some(error) => {
                let failure = Failure::failed(format_args!("the recording {path} is incomplete: {error}"));
                if result.is_ok() {
                    return Err(failure);
                }
                failure.report();
                result
            }
            None => result,
        }
    }
}

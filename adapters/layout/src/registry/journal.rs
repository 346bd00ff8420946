//! How the changes of a storage are undone.

use crate::directory::Directory;
use crate::error::LayoutError;
use crate::writer::staging::Staging;

/// The changes so far, and how each is undone.
#[derive(Debug)]
pub(super) struct Journal<'a> {
    pub(super) staging: &'a Staging,
    undo: Vec<Undo>,
    /// The number of temporary files.
    temporary: usize,
}

#[derive(Debug)]
enum Undo {
    /// Removes a file.
    Remove(Directory, String),
    /// Removes a directory, which is empty then.
    RemoveDirectory(Directory, String),
    /// Moves a temporary file back to its name.
    Restore { temporary: String, to: Directory, name: String },
    /// Moves a file to the directory from which it was taken.
    MoveBack { from: Directory, name: String, to: Directory, old: String },
}

impl<'a> Journal<'a> {
    pub(super) fn new(staging: &'a Staging) -> Self {
        Self { staging, undo: Vec::new(), temporary: 0 }
    }

    /// Notes that a file is created.
    pub(super) fn created(&mut self, directory: &Directory, name: impl Into<String>) {
        self.undo.push(Undo::Remove(directory.clone(), name.into()));
    }

    /// Notes that a directory is made.
    pub(super) fn made(&mut self, parent: &Directory, name: &str) {
        self.undo.push(Undo::RemoveDirectory(parent.clone(), name.to_owned()));
    }

    /// Notes that a file was kept under a temporary name, before its own is removed or given to another.
    pub(super) fn kept(&mut self, temporary: String, to: &Directory, name: impl Into<String>) {
        self.undo.push(Undo::Restore { temporary, to: to.clone(), name: name.into() });
    }

    /// Notes that a file is taken from another directory.
    pub(super) fn moved(&mut self, from: &Directory, name: &str, to: &Directory, new: &str) {
        let (from, name, to, old) = (to.clone(), new.to_owned(), from.clone(), name.to_owned());
        self.undo.push(Undo::MoveBack { from, name, to, old });
    }

    /// A name for a temporary file, which is removed at the end.
    pub(super) fn temporary(&mut self) -> String {
        self.temporary += 1;
        temporary_name(self.temporary)
    }

    /// Removes the temporary files. If that fails, the next start does it.
    pub(super) fn finish(self) {
        for number in 1..=self.temporary {
            let _ = self.staging.work().remove(&temporary_name(number));
        }
    }

    /// Undoes all changes, the last one first.
    ///
    /// # Errors
    /// One of them cannot be undone.
    pub(super) fn undo(mut self) -> Result<(), LayoutError> {
        let staging = self.staging;
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Remove(directory, name) => directory.remove(&name)?,
                Undo::RemoveDirectory(parent, name) => match parent.remove_directory(&name) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(parent.wrong(&name, error));
                    }
                    _ => {}
                },
                // What follows removes content that only the other file needs.
                Undo::Restore { temporary, to, name } => {
                    staging.work().rename(&temporary, &to, &name)?;
                    staging.sync(&to)?;
                }
                Undo::MoveBack { from, name, to, old } => from.rename(&name, &to, &old)?,
            }
        }
        self.finish();
        Ok(())
    }
}

fn temporary_name(number: usize) -> String {
    format!("temporary-{number}")
}

//! The crates of the workspace.

use std::io;
use std::path::{Path, PathBuf};

/// A package of the workspace.
#[derive(Debug)]
pub struct Package {
    /// Its directory, relative to the workspace.
    pub folder: PathBuf,
    /// The root files of its crates: library, program, tests, benchmarks, examples.
    pub roots: Vec<PathBuf>,
}

/// Finds every package below the directory `top`, the fuzz targets included.
///
/// # Errors
///
/// A directory cannot be listed.
pub fn packages(top: &Path) -> io::Result<Vec<Package>> {
    let mut folders = vec![PathBuf::from("core"), PathBuf::from("tests"), PathBuf::from("fuzz")];
    folders.extend(list(top, Path::new("adapters"))?);
    folders.retain(|folder| top.join(folder).join("Cargo.toml").is_file());
    folders.sort();
    folders.into_iter().map(|folder| package(top, folder)).collect()
}

fn package(top: &Path, folder: PathBuf) -> io::Result<Package> {
    let mut roots = vec![folder.join("src/lib.rs"), folder.join("src/main.rs"), folder.join("build.rs")];
    for each in ["src/bin", "tests", "benches", "examples", "fuzz_targets"] {
        for entry in list(top, &folder.join(each))? {
            if entry.extension().is_some_and(|extension| extension == "rs") {
                roots.push(entry);
            } else {
                roots.push(entry.join("main.rs"));
            }
        }
    }
    roots.retain(|root| top.join(root).is_file());
    Ok(Package { folder, roots })
}

/// The entries of a directory, in order. A missing directory is empty.
fn list(top: &Path, folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !top.join(folder).is_dir() {
        return Ok(Vec::new());
    }
    let entries = top.join(folder).read_dir()?.map(|entry| Ok(folder.join(entry?.file_name())));
    let mut entries: Vec<PathBuf> = entries.collect::<io::Result<_>>()?;
    entries.sort();
    Ok(entries)
}

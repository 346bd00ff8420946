//! Changing the logins in a file, or in the credential helper that it names.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use oci_proto::{Credentials, CredentialsQuery, Fault, Registry};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::entry::{self, Object, object};
use crate::file::{File, Named, fault, helper};
use crate::helper::Helpers;
use crate::key::{Key, matching};

/// Stores a login for all repositories of a registry. Returns where.
pub(crate) fn save(
    path: &Path,
    registry: &Registry,
    login: &Credentials,
    helpers: &Helpers,
) -> Result<String, Fault> {
    let mut file = File::read(path)?.unwrap_or_else(|| File::empty(path));
    let query = CredentialsQuery::of_registry(registry.clone());
    let named = helper(&file.content, &query).map_err(|why| fault(path, why))?;
    let source = file.source(named.as_ref().map(|named| named.name));
    let entry = if let Some(Named { name, server, .. }) = named {
        helpers.store(name, &server, login).map_err(|why| fault(path, why))?;
        None
    } else {
        Some(entry::of(login).map_err(|why| fault(path, why))?)
    };
    // Entries under other names of the registry would be left behind.
    let changed = remove(&mut file.content, &query).map_err(|why| fault(path, why))?;
    if let Some(entry) = &entry {
        let auths = file.content.entry("auths").or_insert_with(|| json!({}));
        if auths.is_null() {
            *auths = json!({});
        }
        // `remove` has checked that it is an object.
        auths[registry.credentials_key()] = Value::Object(entry.clone());
    }
    if changed || entry.is_some() {
        write(path, &file.content).map_err(|error| fault(path, error))?;
    }
    Ok(source)
}

/// Removes the login for all repositories of a registry. Returns where it was, if it was there.
pub(crate) fn erase(path: &Path, registry: &Registry, helpers: &Helpers) -> Result<Option<String>, Fault> {
    let Some(mut file) = File::read(path)? else { return Ok(None) };
    let query = CredentialsQuery::of_registry(registry.clone());
    let named = helper(&file.content, &query).map_err(|why| fault(path, why))?;
    let mut source = None;
    if let Some(Named { name, server, .. }) = named
        && helpers.get(name, &server).map_err(|why| fault(path, why))?.is_some()
    {
        helpers.erase(name, &server).map_err(|why| fault(path, why))?;
        source = Some(file.source(Some(name)));
    }
    if remove(&mut file.content, &query).map_err(|why| fault(path, why))? {
        write(path, &file.content).map_err(|error| fault(path, error))?;
        source.get_or_insert_with(|| file.source(None));
    }
    Ok(source)
}

/// Removes the entries for all repositories of a registry. Returns whether there was one.
fn remove(content: &mut Object, query: &CredentialsQuery) -> Result<bool, String> {
    let Some(auths) = object(content, "auths")? else { return Ok(false) };
    let keys = matching(auths, query).into_iter().filter(Key::is_registry);
    let keys: Vec<String> = keys.map(|key| key.text.to_owned()).collect();
    if let Some(Value::Object(auths)) = content.get_mut("auths") {
        for key in &keys {
            auths.remove(key);
        }
    }
    Ok(!keys.is_empty())
}

/// Replaces a file, which only its owner can read, and which exists either as before or as a whole. Creates its
/// directory.
fn write(path: &Path, content: &Object) -> io::Result<()> {
    let path = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::symlink_metadata(path) {
            Err(_) => path.to_owned(),
            // A link to nothing.
            Ok(_) => return Err(error),
        },
        found => {
            // A link stays, and leads to the new file. Anything else, such as /dev/null, must not be replaced.
            let found = found?;
            if !fs::metadata(&found)?.is_file() {
                return Err(io::Error::other("not a regular file"));
            }
            found
        }
    };
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    create_private(directory)?;
    let mut text = serde_json::to_vec_pretty(content)?;
    text.push(b'\n');
    // Created with mode 0600, and removed unless it is kept.
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(&text)?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

/// Creates a directory that only its owner can read, with its parents, unless it exists.
fn create_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

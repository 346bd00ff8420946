//! Looking up logins in one file.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use oci_proto::{Credentials, CredentialsQuery, Fault, FaultKind};
use serde_json::Value;

use crate::entry::{self, Object, object, string};
use crate::helper::Helpers;
use crate::key::{Key, matching};

/// Far larger than real files.
const MAX_SIZE: u64 = 4 << 20;

/// A file that exists.
pub(crate) struct File<'a> {
    path: &'a Path,
    pub(crate) content: Object,
}

impl<'a> File<'a> {
    /// The content of a file that does not exist yet.
    pub(crate) fn empty(path: &'a Path) -> Self {
        Self { path, content: Object::new() }
    }

    /// Parses logins that are not in a file; the name of their origin takes the place of its path.
    pub(crate) fn parse(name: &'a Path, text: &str) -> Result<Option<Self>, Fault> {
        let content = parse(text.as_bytes()).map_err(|why| fault(name, why))?;
        Ok(content.map(|content| Self { path: name, content }))
    }

    /// Reads a file. `None` if it does not exist or is empty.
    pub(crate) fn read(path: &'a Path) -> Result<Option<Self>, Fault> {
        let bytes = match content(path) {
            Ok(bytes) => bytes,
            Err(error) => match error.kind() {
                // `NotADirectory`: the home directory is, for example, /dev/null.
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => return Ok(None),
                _ => return Err(fault(path, error)),
            },
        };
        if bytes.len() as u64 > MAX_SIZE {
            return Err(fault(path, format_args!("larger than {} MiB, the limit", MAX_SIZE >> 20)));
        }
        Ok(parse(&bytes).map_err(|why| fault(path, why))?.map(|content| Self { path, content }))
    }

    /// Looks up a login in the file, or in a credential helper that it names. Also returns its source.
    pub(crate) fn look_up(
        &self,
        query: &CredentialsQuery,
        helpers: &Helpers,
    ) -> Result<Option<(Credentials, String)>, Fault> {
        let found = look_up(&self.content, query, helpers).map_err(|why| fault(self.path, why))?;
        Ok(found.map(|(login, helper)| (login, self.source(helper))))
    }

    /// Describes a login in the file, or in a credential helper that it names.
    pub(crate) fn source(&self, helper: Option<&str>) -> String {
        let path = self.path.display();
        match helper {
            Some(helper) => format!("the credential helper `{}` in {path}", Helpers::program(helper)),
            None => path.to_string(),
        }
    }
}

pub(crate) fn fault(path: &Path, why: impl fmt::Display) -> Fault {
    Fault::new(FaultKind::Credentials, format_args!("{}: {why}", path.display()))
}

/// Reads a file, but at most one byte more than [`MAX_SIZE`].
fn content(path: &Path) -> io::Result<Vec<u8>> {
    let kind = fs::metadata(path)?.file_type();
    if path == Path::new("/dev/null") {
        return Ok(Vec::new());
    }
    // Opening a pipe without a writer blocks.
    if !kind.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Parses a file. `None` if it is empty, like in Docker.
fn parse(bytes: &[u8]) -> Result<Option<Object>, Cow<'static, str>> {
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(content)) => Ok(Some(content)),
        Ok(_) => Err("not a JSON object".into()),
        // Of the file's content, the error shows only the line and the column.
        Err(error) => Err(format!("not JSON: {error}").into()),
    }
}

/// A credential helper that a file names for a registry.
pub(crate) struct Named<'a> {
    pub(crate) name: &'a str,
    /// The registry, as the helper knows it.
    pub(crate) server: String,
    /// Whether it is named for this registry, and not for all.
    is_for_registry: bool,
}

/// Returns the helper that a file names for a registry.
pub(crate) fn helper<'a>(content: &'a Object, query: &CredentialsQuery) -> Result<Option<Named<'a>>, String> {
    if let Some(named) = object(content, "credHelpers")? {
        let key = matching(named, query).into_iter().find(Key::is_registry);
        let helper = key.as_ref().map(|key| string(named, key.text)).transpose();
        match (key, helper.map_err(|why| format!("`credHelpers`: {why}"))?.flatten()) {
            // An empty name exempts a registry from `credsStore`.
            (_, Some("")) => return Ok(None),
            (Some(key), Some(name)) => {
                return Ok(Some(Named { name, server: key.text.to_owned(), is_for_registry: true }));
            }
            _ => {}
        }
    }
    let store = string(content, "credsStore")?.filter(|name| !name.is_empty());
    let server = query.registry.credentials_key().to_owned();
    Ok(store.map(|name| Named { name, server, is_for_registry: false }))
}

/// Returns the login, and the helper that it comes from, if any.
fn look_up<'a>(
    content: &'a Object,
    query: &CredentialsQuery,
    helpers: &Helpers,
) -> Result<Option<(Credentials, Option<&'a str>)>, String> {
    if let Some(Named { name, server, is_for_registry }) = helper(content, query)? {
        let login = helpers.get(name, &server)?.map(|login| (login, Some(name)));
        if login.is_some() || is_for_registry {
            return Ok(login);
        }
    }
    let Some(auths) = object(content, "auths")? else { return Ok(None) };
    for key in matching(auths, query) {
        let login = match object(auths, key.text) {
            Ok(None) => continue,
            Ok(Some(entry)) => {
                entry::login(entry).map_err(|why| format!("`auths`, `{}`: {why}", key.text))?
            }
            Err(why) => return Err(format!("`auths`: {why}")),
        };
        if let Some(login) = login {
            return Ok(Some((login, None)));
        }
    }
    Ok(None)
}

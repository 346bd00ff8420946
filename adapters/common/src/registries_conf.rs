//! The files of Podman and other tools with rules for registries.
//!
//! Source: containers-registries.conf(5), containers-registries.conf.d(5).

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use oci_proto::{InvalidReference, Mirror, MirrorPulls, Registries, RegistryEntry};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::BuildError;
use crate::this_machine::home_directory;

/// The largest file that is read, in bytes.
const MAX_FILE_LEN: u64 = 1 << 20;

/// The directory of the system's files.
const SYSTEM: &str = "/etc/containers";

/// Reads the files of this environment, if there are any.
pub(crate) fn from_env() -> Result<Registries, BuildError> {
    let named = env::var_os("CONTAINERS_REGISTRIES_CONF").filter(|path| !path.is_empty()).map(PathBuf::from);
    let user = home_directory().map(|home| home.join(".config/containers"));
    read(&files(named, user.as_deref(), Path::new(SYSTEM))?)
}

/// Returns the files that exist, in the order in which they are read: the file that the environment names, or else the
/// first of the user's and the system's, and then those of the system's and of the user's `registries.conf.d`.
fn files(named: Option<PathBuf>, user: Option<&Path>, system: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let folders: Vec<&Path> = [Some(system), user].into_iter().flatten().collect();
    let first =
        || folders.iter().rev().map(|folder| folder.join("registries.conf")).find(|file| file.exists());
    let mut files = Vec::from_iter(named.or_else(first));
    for folder in folders {
        files.extend(drop_ins(&folder.join("registries.conf.d"))?);
    }
    Ok(files)
}

/// Returns the files in a `registries.conf.d`, in the order of their names.
fn drop_ins(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unusable(folder, &error)),
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(|error| unusable(folder, &error))?;
    paths.retain(|path| path.extension() == Some(OsStr::new("conf")) && !path.is_dir());
    paths.sort_unstable();
    Ok(paths)
}

/// Reads files. What later ones say about a prefix or a short name replaces what earlier ones say.
pub(crate) fn read(files: &[PathBuf]) -> Result<Registries, BuildError> {
    let mut registries = Registries::default();
    for path in files {
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(MAX_FILE_LEN + 1).read_to_string(&mut text));
        read.map_err(|error| unusable(path, &error))?;
        if text.len() as u64 > MAX_FILE_LEN {
            return Err(unusable(path, &"it is larger than 1 MiB"));
        }
        add(&mut registries, &text).map_err(|reason| unusable(path, &reason))?;
    }
    Ok(registries)
}

fn unusable(path: &Path, reason: &dyn Display) -> BuildError {
    BuildError::Registries { path: path.to_owned(), reason: reason.to_string() }
}

/// The parts of a file that are used. `unqualified-search-registries` is not: a short name without an entry is one of
/// Docker Hub, so that no other registry can claim it.
#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    registry: Vec<Entry>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    /// The table of the first version of the format.
    registries: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<MirrorEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorEntry {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: String,
}

/// Adds the text of a file.
fn add(registries: &mut Registries, text: &str) -> Result<(), String> {
    let document: Document = toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map(|before| format!("line {}: ", before.matches('\n').count() + 1));
        format!("{}{}", line.unwrap_or_default(), error.message())
    })?;
    if document.registries.is_some() {
        return Err("it has the first version of the format; write `[[registry]]` tables".to_owned());
    }
    for entry in document.registry {
        registries.set(entry.into_entry()?);
    }
    for (name, target) in document.aliases {
        // An empty target removes the short name.
        let target = Some(target.as_str()).filter(|target| !target.is_empty());
        registries.set_alias(&name, target).map_err(|error| format!("the alias `{name}`: {error}"))?;
    }
    Ok(())
}

impl Entry {
    fn into_entry(self) -> Result<RegistryEntry, String> {
        let Self { prefix, location, insecure, blocked, mirror_by_digest_only, mirror } = self;
        let name = if prefix.is_empty() { &location } else { &prefix };
        if name.is_empty() {
            return Err("a registry has neither a `prefix` nor a `location`".to_owned());
        }
        let within = |reason: &str| format!("the registry `{name}`: {reason}");
        let invalid = |error: InvalidReference| within(&error.to_string());
        let mut entry =
            RegistryEntry::new(name.parse().map_err(invalid)?).insecure(insecure).blocked(blocked);
        if !location.is_empty() {
            entry = entry.location(location.parse().map_err(invalid)?);
        } else if !prefix.starts_with("*.") {
            return Err(within("it has no `location`"));
        }
        for MirrorEntry { location, insecure, pull_from_mirror } in mirror {
            let pulls = match (mirror_by_digest_only, pull_from_mirror.as_str()) {
                (false, "") => MirrorPulls::All,
                (true, "") => MirrorPulls::DigestOnly,
                (true, _) => {
                    return Err(within("it has both `mirror-by-digest-only` and `pull-from-mirror`"));
                }
                (false, name) => MirrorPulls::named(name)
                    .ok_or_else(|| within("`pull-from-mirror` is `all`, `digest-only` or `tag-only`"))?,
            };
            entry = entry.mirror(Mirror::new(location.parse().map_err(invalid)?, pulls).insecure(insecure));
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        add(&mut Registries::default(), text).unwrap_err()
    }

    #[test]
    fn a_file_is_read() {
        let text = r#"
            unqualified-search-registries = ["registry.example"]
            short-name-mode = "enforcing"

            [[registry]]
            location = "registry.example:5000/team"
            insecure = true

            [[registry]]
            prefix = "*.internal.example"
            blocked = true

            [[registry]]
            prefix = "docker.io"
            location = "hub.example"
            [[registry.mirror]]
            location = "a.example/hub"
            insecure = true
            pull-from-mirror = "tag-only"
            [[registry.mirror]]
            location = "b.example"

            [[registry]]
            location = "quay.io"
            mirror-by-digest-only = true
            mirror = [{ location = "c.example" }]

            [aliases]
            "app" = "registry.example:5000/team/app"
            "gone" = ""
        "#;
        let mut registries = Registries::default();
        registries.set_alias("gone", Some("registry.example/gone")).unwrap();
        add(&mut registries, text).unwrap();

        let mut expected = Registries::default();
        let name = |text: &str| text.parse().unwrap();
        expected.set(RegistryEntry::new("registry.example:5000/team".parse().unwrap()).insecure(true));
        expected.set(RegistryEntry::new("*.internal.example".parse().unwrap()).blocked(true));
        expected.set(
            RegistryEntry::new("docker.io".parse().unwrap())
                .location(name("hub.example"))
                .mirror(Mirror::new(name("a.example/hub"), MirrorPulls::TagOnly).insecure(true))
                .mirror(Mirror::new(name("b.example"), MirrorPulls::All)),
        );
        expected.set(
            RegistryEntry::new("quay.io".parse().unwrap())
                .mirror(Mirror::new(name("c.example"), MirrorPulls::DigestOnly)),
        );
        expected.set_alias("app", Some("registry.example:5000/team/app")).unwrap();
        assert_eq!(registries, expected);
    }

    #[test]
    fn an_error_names_the_line_or_the_entry() {
        for (text, said) in [
            ("a = 1\n[[registry]\n", "line 2: "),
            ("\n[[registry]]\nlocation = \"r.example\"\nblocked = 1\n", "line 4: invalid type: integer `1`"),
            ("[[registry]]\n", "neither a `prefix` nor a `location`"),
            ("[[registry]]\nprefix = \"r.example\"\n", "the registry `r.example`: it has no `location`"),
            (
                "[[registry]]\nlocation = \"https://r.example\"\n",
                "remove everything up to and including `://`",
            ),
            ("[[registry]]\nlocation = \"r.example/a:1\"\n", "the registry `r.example/a:1`: "),
            ("[[registry]]\nlocation = \"r.example\"\n[[registry.mirror]]\n", "missing field `location`"),
            (
                "[[registry]]\nlocation = \"r.example\"\nmirror = [{ location = \"m\" }]\n",
                "the registry `r.example`: `m` is not a registry",
            ),
            (
                "[[registry]]\nlocation = \"r.example\"\n[[registry.mirror]]\nlocation = \"m.example\"\n\
                 pull-from-mirror = \"tags\"\n",
                "`all`, `digest-only` or `tag-only`",
            ),
            (
                "[[registry]]\nlocation = \"r.example\"\nmirror-by-digest-only = true\n[[registry.mirror]]\n\
                 location = \"m.example\"\npull-from-mirror = \"all\"\n",
                "both `mirror-by-digest-only` and `pull-from-mirror`",
            ),
            ("[aliases]\n\"r.example/a\" = \"r.example/b\"\n", "the alias `r.example/a`: "),
            ("[aliases]\na = \"b\"\n", "the alias `a`: `b` is not a full name"),
            ("[registries.search]\nregistries = []\n", "the first version of the format"),
        ] {
            let error = error_of(text);
            assert!(error.contains(said), "{text:?}: {error}");
        }
    }

    #[test]
    fn later_files_replace_entries_of_earlier_ones() {
        let folder = tempfile::tempdir().unwrap();
        let (system, user) = (folder.path().join("etc"), folder.path().join("user"));
        let entry =
            |name: &str, flag: &str| format!("[[registry]]\nlocation = \"{name}.example\"\n{flag} = true\n");
        let write = |path: &Path, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let names = |files: Vec<PathBuf>| -> Vec<String> {
            let short = |file: &PathBuf| file.strip_prefix(folder.path()).unwrap().display().to_string();
            files.iter().map(short).collect()
        };
        assert_eq!(files(None, Some(&user), &system).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(files(None, None, &system).unwrap(), Vec::<PathBuf>::new());

        write(&system.join("registries.conf"), &entry("a", "blocked"));
        assert_eq!(names(files(None, Some(&user), &system).unwrap()), ["etc/registries.conf"]);
        write(&user.join("registries.conf"), &entry("b", "blocked"));
        write(&system.join("registries.conf.d/2.conf"), &entry("c", "blocked"));
        write(&system.join("registries.conf.d/10.conf"), &entry("c", "insecure"));
        write(&system.join("registries.conf.d/README"), "not read");
        write(&user.join("registries.conf.d/1.conf"), &entry("b", "insecure"));
        let found = files(None, Some(&user), &system).unwrap();
        let drop_ins = [
            "etc/registries.conf.d/10.conf",
            "etc/registries.conf.d/2.conf",
            "user/registries.conf.d/1.conf",
        ];
        assert_eq!(names(found.clone())[0], "user/registries.conf");
        assert_eq!(names(found.clone())[1..], drop_ins);

        let mut expected = Registries::default();
        expected.set(RegistryEntry::new("b.example".parse().unwrap()).insecure(true));
        expected.set(RegistryEntry::new("c.example".parse().unwrap()).blocked(true));
        assert_eq!(read(&found).unwrap(), expected);

        let other = folder.path().join("named.conf");
        let found = files(Some(other.clone()), Some(&user), &system).unwrap();
        assert_eq!(names(found.clone())[0], "named.conf");
        let error = read(&found).unwrap_err().to_string();
        assert!(error.contains(&other.display().to_string()), "{error}");
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "#".repeat(1 << 20)).unwrap();
        assert_eq!(read(&[file.path().to_owned()]).unwrap(), Registries::default());
        fs::write(file.path(), "#".repeat((1 << 20) + 1)).unwrap();
        assert!(read(&[file.path().to_owned()]).unwrap_err().to_string().contains("larger than 1 MiB"));
    }
}

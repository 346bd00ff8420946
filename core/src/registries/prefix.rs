//! The names in the configuration of registries: a registry or a part of one, and patterns for these.

use std::fmt;
use std::str::FromStr;

use crate::types::reference::error::InvalidReference;
use crate::types::reference::name::Repository;
use crate::types::reference::registry::Registry;

/// A registry, or its repositories below a path: `HOST[:PORT][/PATH]`.
///
/// A path names whole components: `r.example/team` contains `r.example/team` and `r.example/team/app`, but not
/// `r.example/teams`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace {
    pub(super) registry: Registry,
    pub(super) path: Option<Repository>,
}

impl FromStr for Namespace {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let (registry, path) = split(text);
        Ok(Self { registry: registry.parse()?, path: path.map(str::parse).transpose()? })
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.registry)?;
        write_path(f, self.path.as_ref())
    }
}

/// The references to which an entry applies: those in a [`Namespace`], or with `*.DOMAIN[:PORT][/PATH]` those in the
/// same one of every subdomain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    host: Host,
    path: Option<Repository>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Host {
    One(Registry),
    /// All whose name ends like this, with a dot at its start.
    Below(Box<str>),
}

/// How specifically a prefix matches. The greatest one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Specificity {
    path: usize,
    /// Of several that match, the one with the longest text; a whole name counts for more than any of its ends.
    host: usize,
}

impl Prefix {
    /// Returns how specifically this matches a repository, or a registry as a whole. Returns `None` if it does not.
    pub(super) fn matches(
        &self,
        registry: &Registry,
        repository: Option<&Repository>,
    ) -> Option<Specificity> {
        let host = match &self.host {
            Host::One(one) if one == registry => usize::MAX,
            Host::Below(end)
                if registry.as_str().len() > end.len() && registry.as_str().ends_with(&**end) =>
            {
                end.len()
            }
            Host::One(_) | Host::Below(_) => return None,
        };
        let path = match &self.path {
            None => 0,
            Some(path) => {
                self.rest(repository?)?;
                path.as_str().len()
            }
        };
        Some(Specificity { path, host })
    }

    /// Returns the part of a repository's name that follows the path: nothing if they are equal. Returns `None` if the
    /// name does not begin with the path.
    pub(super) fn rest<'a>(&self, repository: &'a Repository) -> Option<&'a str> {
        let Some(path) = &self.path else { return Some(repository.as_str()) };
        let rest = repository.as_str().strip_prefix(path.as_str())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    /// Returns whether this matches anything at a host, at any port.
    pub(super) fn has_host(&self, host: &str) -> bool {
        match &self.host {
            Host::One(registry) => registry.api_host().eq_ignore_ascii_case(host),
            Host::Below(end) => {
                let end = end.split_once(':').map_or(&**end, |(end, _)| end);
                let host = host.to_ascii_lowercase();
                host.len() > end.len() && host.ends_with(end)
            }
        }
    }

    /// Returns the namespace that it names, unless it is one for subdomains.
    pub(super) fn namespace(&self) -> Option<Namespace> {
        match &self.host {
            Host::One(registry) => Some(Namespace { registry: registry.clone(), path: self.path.clone() }),
            Host::Below(_) => None,
        }
    }
}

impl From<Namespace> for Prefix {
    fn from(namespace: Namespace) -> Self {
        Self { host: Host::One(namespace.registry), path: namespace.path }
    }
}

impl FromStr for Prefix {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let (host, path) = split(text);
        let Some(domain) = host.strip_prefix("*.") else { return text.parse().map(Namespace::into) };
        // A domain of one label is no registry, but those below it are.
        let below: Registry = format!("{SUBDOMAIN}.{domain}").parse()?;
        let end = below.as_str().trim_start_matches(SUBDOMAIN).into();
        Ok(Self { host: Host::Below(end), path: path.map(str::parse).transpose()? })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::One(registry) => write!(f, "{registry}")?,
            Host::Below(end) => write!(f, "*{end}")?,
        }
        write_path(f, self.path.as_ref())
    }
}

const SUBDOMAIN: &str = "subdomain";

/// Splits a name into its registry and its path. Like other readers of these files, it allows slashes at the end.
fn split(text: &str) -> (&str, Option<&str>) {
    let text = text.trim_end_matches('/');
    match text.split_once('/') {
        // The error of a registry says what to do about a scheme.
        Some((registry, path)) if !text.contains("://") => (registry, Some(path)),
        _ => (text, None),
    }
}

fn write_path(f: &mut fmt::Formatter<'_>, path: Option<&Repository>) -> fmt::Result {
    path.map_or(Ok(()), |path| write!(f, "/{path}"))
}

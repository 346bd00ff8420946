//! The configuration of registries: other locations, mirrors, plain HTTP, blocked registries, and short names.

pub(crate) mod entry;
pub(crate) mod prefix;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::registries::entry::{Mirror, MirrorPulls, RegistryEntry};
use crate::registries::prefix::{Namespace, Prefix};
use crate::types::reference::Reference;
use crate::types::reference::error::InvalidReference;
use crate::types::reference::name::Repository;
use crate::types::reference::registry::Registry;

/// Rules for registries and parts of them, and short names for repositories.
///
/// Of the entries whose prefix matches a reference, the one with the longest prefix applies. It can replace the prefix
/// by another location, name mirrors, allow plain HTTP, and block the reference.
///
/// - Operations read manifests and blobs from the mirrors, in order, and from the registry itself last. Each has its
///   own login. Content is verified against its digest, wherever it is from. A mirror decides what a tag names only
///   if its [`MirrorPulls`] allow that.
/// - Lists, deletions, uploads, checks and questions whether content exists go to the registry itself.
/// - Requests that concern a registry as a whole, such as for the list of its repositories, go to the registry of that
///   name.
///
/// Source: containers-registries.conf(5).
///
/// ```
/// use oci_proto::{Config, Mirror, MirrorPulls, Registries, RegistryEntry};
///
/// let mirror = Mirror::new("mirror.example:5000/hub".parse()?, MirrorPulls::DigestOnly).insecure(true);
/// let mut config = Config::default();
/// config.registries.set(RegistryEntry::new("docker.io".parse()?).mirror(mirror));
/// # Ok::<(), oci_proto::InvalidReference>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registries(Arc<Rules>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rules {
    entries: BTreeMap<Prefix, RegistryEntry>,
    aliases: BTreeMap<Repository, (Registry, Repository)>,
}

impl Registries {
    /// Sets an entry. It replaces the one with the same prefix.
    pub fn set(&mut self, entry: RegistryEntry) {
        Arc::make_mut(&mut self.0).entries.insert(entry.prefix.clone(), entry);
    }

    /// Sets the repository that a short name stands for, or removes the short name. See [`reference`](Self::reference).
    ///
    /// # Errors
    /// The name begins with a registry, so it is not short, or the target is no repository of a registry.
    pub fn set_alias(&mut self, name: &str, target: Option<&str>) -> Result<(), InvalidReference> {
        let short = Reference::short_name(name)?;
        let target = target.map(Reference::full_name).transpose()?;
        let aliases = &mut Arc::make_mut(&mut self.0).aliases;
        match target {
            Some(target) => _ = aliases.insert(short, target),
            None => _ = aliases.remove(&short),
        }
        Ok(())
    }

    /// Adds the entries and the short names of others. They replace those with the same prefix or name.
    pub fn merge(&mut self, others: &Self) {
        let Rules { entries, aliases } = Arc::make_mut(&mut self.0);
        entries.extend(others.0.entries.clone());
        aliases.extend(others.0.aliases.clone());
    }

    /// Parses a reference. If it begins with a short name, that stands for another repository. All other names without a
    /// registry are expanded as in [`Reference`].
    ///
    /// # Errors
    /// The text is not a reference.
    pub fn reference(&self, text: &str) -> Result<Reference, InvalidReference> {
        let reference: Reference = text.parse()?;
        let named = text.split_once('@').map_or(text, |(named, _)| named);
        let short = match named.rsplit_once(':') {
            Some((short, tag)) if !tag.contains('/') => short,
            _ => named,
        };
        // No short name begins with a registry.
        let alias = short.parse().ok().and_then(|short: Repository| self.0.aliases.get(&short));
        match alias {
            Some((registry, repository)) => reference.moved_to(registry.clone(), repository.clone()),
            None => Ok(reference),
        }
    }

    /// Returns the entries, in a fixed order.
    pub fn entries(&self) -> impl Iterator<Item = &RegistryEntry> {
        self.0.entries.values()
    }

    /// Returns whether plain HTTP is allowed for a registry as a whole.
    pub(crate) fn route_to_registry(&self, registry: &Registry) -> Result<bool, RouteError> {
        let entry = self.entry(registry, None);
        entry.map_or(Ok(false), |entry| allowed(entry, || registry.to_string()).map(|entry| entry.insecure))
    }

    /// Returns where the content of a reference is.
    pub(crate) fn route(&self, reference: &Reference) -> Result<Route, RouteError> {
        let (registry, repository) = (reference.registry(), reference.repository());
        let Some(entry) = self.entry(registry, Some(repository)) else {
            let primary = Place { reference: reference.clone(), insecure: false };
            return Ok(Route { primary, mirrors: Vec::new() });
        };
        let name = |reference: &Reference| format!("{}/{}", reference.registry(), reference.repository());
        allowed(entry, || name(reference))?;
        let moved = |location: &Namespace| rewritten(reference, &entry.prefix, location);
        let primary = entry.location.as_ref().map_or_else(|| Ok(reference.clone()), moved)?;
        // The other location may be blocked by an entry of its own.
        if let Some(other) = self.entry(primary.registry(), Some(primary.repository())) {
            allowed(other, || name(&primary))?;
        }
        let mut mirrors = Vec::new();
        for Mirror { location, insecure, pulls } in &entry.mirrors {
            let place = Place { reference: moved(location)?, insecure: *insecure };
            let is_blocked = self
                .entry(place.reference.registry(), Some(place.reference.repository()))
                .is_some_and(|entry| entry.blocked);
            let has_digest = reference.digest().is_some();
            let is_asked = match pulls {
                MirrorPulls::All | MirrorPulls::DigestOnly => true,
                MirrorPulls::TagOnly => !has_digest,
            };
            if is_asked && !is_blocked {
                mirrors
                    .push(MirrorPlace { place, has_tags: !has_digest && *pulls != MirrorPulls::DigestOnly });
            }
        }
        Ok(Route { primary: Place { reference: primary, insecure: entry.insecure }, mirrors })
    }

    /// Returns whether an entry allows plain HTTP for a part of this host.
    pub(crate) fn is_insecure(&self, host: &str) -> bool {
        let is_at = |location: &Namespace| location.registry.api_host().eq_ignore_ascii_case(host);
        self.entries().any(|entry| {
            let is_primary = || entry.location.as_ref().map_or_else(|| entry.prefix.has_host(host), is_at);
            entry.insecure && is_primary()
                || entry.mirrors.iter().any(|mirror| mirror.insecure && is_at(&mirror.location))
        })
    }

    /// Returns the entry that applies to a repository, or to a registry as a whole.
    fn entry(&self, registry: &Registry, repository: Option<&Repository>) -> Option<&RegistryEntry> {
        let matching = self.entries().filter_map(|entry| {
            let specificity = entry.prefix.matches(registry, repository)?;
            Some((specificity, entry))
        });
        matching.max_by_key(|(specificity, _)| *specificity).map(|(_, entry)| entry)
    }
}

/// The places where the content of a reference is.
#[derive(Debug)]
pub(crate) struct Route {
    /// The registry itself.
    pub(crate) primary: Place,
    pub(crate) mirrors: Vec<MirrorPlace>,
}

#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) reference: Reference,
    pub(crate) insecure: bool,
}

#[derive(Debug)]
pub(crate) struct MirrorPlace {
    pub(crate) place: Place,
    /// Whether it says which content a tag names.
    pub(crate) has_tags: bool,
}

/// Why the configuration of registries does not permit an operation on a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// An entry blocks it.
    #[error("{name} is blocked: the configuration of registries has an entry for `{prefix}` that is blocked")]
    Blocked {
        /// The registry and the repository.
        name: String,
        /// The prefix of the entry.
        prefix: Prefix,
    },
    /// An entry replaces the prefix by a location, and the result is not a repository.
    #[error(
        "the configuration of registries has `{location}` in place of `{prefix}`, which does not fit: {problem}"
    )]
    Location {
        /// The prefix of the entry.
        prefix: Prefix,
        /// The location in its place.
        location: Namespace,
        /// The error of the resulting name.
        problem: InvalidReference,
    },
}

/// Returns the entry, unless it blocks this name.
fn allowed(entry: &RegistryEntry, name: impl FnOnce() -> String) -> Result<&RegistryEntry, RouteError> {
    if entry.blocked {
        return Err(RouteError::Blocked { name: name(), prefix: entry.prefix.clone() });
    }
    Ok(entry)
}

/// Returns a reference with a location in place of a prefix.
fn rewritten(reference: &Reference, prefix: &Prefix, location: &Namespace) -> Result<Reference, RouteError> {
    let rest = prefix.rest(reference.repository()).unwrap_or_default();
    let repository = match &location.path {
        Some(path) if rest.is_empty() => path.to_string(),
        Some(path) => format!("{path}/{rest}"),
        None => rest.to_owned(),
    };
    let moved = repository.parse().and_then(|name| reference.moved_to(location.registry.clone(), name));
    moved.map_err(|problem| RouteError::Location {
        prefix: prefix.clone(),
        location: location.clone(),
        problem,
    })
}

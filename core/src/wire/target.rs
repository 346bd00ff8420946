//! The repository or the registry that a request addresses.

use std::iter;
use std::sync::Arc;

use crate::types::reference::name::Repository;
use crate::types::reference::registry::Registry;
use crate::types::scope::Scope;
use crate::wire::origin::{Base, Origin};

/// A repository of a registry, or the registry itself, with the data for requests to it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) registry: Registry,
    /// `None` for a request to the registry as a whole, such as for the list of its repositories.
    pub(crate) repository: Option<Repository>,
    pub(crate) origin: Origin,
    pub(crate) base: Base,
    /// Whether its operation writes.
    pub(crate) is_written: bool,
    /// The repositories that are asked for its content first, in order.
    pub(crate) mirrors: Vec<Mirror>,
}

/// A repository with copies of a target's content.
#[derive(Clone, Debug)]
pub(crate) struct Mirror {
    pub(crate) target: Arc<Target>,
    /// Whether it says which content a tag names.
    pub(crate) has_tags: bool,
}

impl Target {
    /// Creates the target of requests to a repository, over plain HTTP or TLS.
    pub(crate) fn to_repository(registry: &Registry, repository: &Repository, is_plain: bool) -> Self {
        Self { repository: Some(repository.clone()), ..Self::to_registry(registry, is_plain) }
    }

    /// Creates the target of requests to a registry as a whole.
    pub(crate) fn to_registry(registry: &Registry, is_plain: bool) -> Self {
        let (origin, base) = Origin::of_registry(registry, is_plain);
        let registry = registry.clone();
        Self { registry, repository: None, origin, base, is_written: false, mirrors: Vec::new() }
    }

    /// Returns the target itself, and its mirrors.
    pub(crate) fn with_mirrors(&self) -> impl Iterator<Item = &Self> {
        iter::once(self).chain(self.mirrors.iter().map(|mirror| &*mirror.target))
    }

    /// Returns the scope for a token, given that of the challenge. The first request of an operation that writes
    /// may only read, and its challenge names less than the others need.
    ///
    /// Only a registry with tokens needs it.
    pub(crate) fn scope(&self, challenged: &Scope) -> Scope {
        let mut scope = challenged.clone();
        match &self.repository {
            Some(repository) if self.is_written => scope.merge(&Scope::push(repository)),
            Some(repository) if scope.is_empty() => scope = Scope::pull(repository),
            Some(_) | None => {}
        }
        scope
    }
}

//! The repository or the registry that a request addresses.

use crate::config::PlainHttp;
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
}

impl Target {
    /// Creates the target of a pull.
    pub(crate) fn to_pull(registry: &Registry, repository: &Repository, plain_http: PlainHttp) -> Self {
        Self { repository: Some(repository.clone()), ..Self::to_registry(registry, plain_http) }
    }

    /// Creates the target of a request to a registry as a whole.
    pub(crate) fn to_registry(registry: &Registry, plain_http: PlainHttp) -> Self {
        let (origin, base) = Origin::of_registry(registry, plain_http);
        Self { registry: registry.clone(), repository: None, origin, base, is_written: false }
    }

    /// Creates the target of a push.
    pub(crate) fn to_push(registry: &Registry, repository: &Repository, plain_http: PlainHttp) -> Self {
        Self { is_written: true, ..Self::to_pull(registry, repository, plain_http) }
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

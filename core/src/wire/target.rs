//! The repository that a request addresses.

use crate::config::PlainHttp;
use crate::types::reference::name::Repository;
use crate::types::reference::registry::Registry;
use crate::types::scope::Scope;
use crate::wire::origin::{Base, Origin};

/// A repository of a registry, with the data for requests to it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) registry: Registry,
    pub(crate) repository: Repository,
    pub(crate) origin: Origin,
    pub(crate) base: Base,
}

impl Target {
    /// Creates the target of a pull.
    pub(crate) fn to_pull(registry: &Registry, repository: &Repository, plain_http: PlainHttp) -> Self {
        let (origin, base) = Origin::of_registry(registry, plain_http);
        Self { registry: registry.clone(), repository: repository.clone(), origin, base }
    }

    /// Returns the scope that the operation requires. Only a registry with tokens needs it.
    pub(crate) fn scope(&self) -> Scope {
        Scope::pull(&self.repository)
    }
}

//! The addresses that requests may reach. The manual has a table of [permitted addresses](crate#permitted-addresses).
//!
//! A public registry could otherwise have a client send requests to services of this machine and of its networks, which
//! nobody else can reach (server-side request forgery, CWE-918).

use std::collections::BTreeMap;

use crate::error::Misbehaviour;
use crate::session::task::{Purpose, Task};
use crate::wire::exchange::reach::Reach;
use crate::wire::origin::Origin;
use crate::wire::status::RequestKind;

/// Whether the registries that have answered did so from private addresses: from none that is public.
#[derive(Debug, Default)]
pub(crate) struct Addresses(BTreeMap<Origin, bool>);

impl Addresses {
    /// The maximum number of registries that are remembered.
    const MAX: usize = 1024;

    /// Notes that the server of a task has answered, from an address that is known to be private, or not.
    ///
    /// A registry that was once reached at another address stays public. Otherwise it could lead to private addresses
    /// while its name alternately resolves to one of them.
    pub(crate) fn answered(&mut self, task: &Task, is_private: bool) {
        if !task.is_at_registry() {
            return;
        }
        if let Some(known) = self.0.get_mut(&task.origin) {
            *known &= is_private;
            return;
        }
        if self.0.len() >= Self::MAX {
            self.0.pop_first();
        }
        self.0.insert(task.origin.clone(), is_private);
    }

    /// Returns the addresses that the next request of a task may reach.
    ///
    /// # Errors
    /// Fails if its URL was named by a server or a document that must not lead there.
    pub(crate) fn reach(&self, task: &Task, allow_private: bool) -> Result<Reach, Misbehaviour> {
        let registry = task.registry();
        if task.is_at_registry() || allow_private || self.is_private(registry) {
            return Ok(Reach::of(&task.uri));
        }
        let host = task.uri.host().unwrap_or_default();
        if Reach::may_be_public(host) {
            return Ok(Reach::Public);
        }
        Err(Misbehaviour::PrivateAddress { lead: lead(task), host: host.to_owned() })
    }

    fn is_private(&self, registry: &Origin) -> bool {
        !Reach::may_be_public(registry.host()) || self.0.get(registry).is_some_and(|is_private| *is_private)
    }
}

/// Returns what led to the URL of a task's next request, which is not at the registry.
fn lead(task: &Task) -> &'static str {
    match (&task.purpose, task.kind) {
        (Purpose::Token(_), _) => "the realm",
        _ if task.redirects > 0 => "the redirect",
        (_, RequestKind::GetElsewhere) => "the URL of the layer",
        (_, RequestKind::ListTags | RequestKind::ListRepositories | RequestKind::ListReferrers) => "the Link",
        _ => "the Location of the upload",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::op::operation::{Call, Recipient};
    use crate::wire::endpoint::Endpoint;
    use crate::wire::target::Target;

    /// A task at the n-th registry, or at a server that this one has named.
    fn task(registry: usize, elsewhere: Option<&str>) -> Task {
        let registry = format!("r{registry}.example").parse().unwrap();
        let target = Arc::new(Target::to_registry(&registry, false));
        let own = target.base.uri(&Endpoint::Version);
        let uri = elsewhere.map_or(own, |uri| uri.parse().unwrap());
        let (kind, origin) = (RequestKind::CancelUpload, Origin::of(&uri).unwrap());
        let fetch = Call::new(kind, Recipient::Url(uri.clone())).at(&target, None);
        Task::new(Purpose::Cleanup(fetch), kind, uri, origin, None)
    }

    #[test]
    fn a_registry_is_private_only_if_all_of_its_responses_are() {
        let mut addresses = Addresses::default();
        let elsewhere = task(0, Some("https://10.0.0.1/"));
        for (answered, is_private, may_lead) in [
            (task(1, None), true, false),
            (task(0, Some("https://cdn.example/")), true, false),
            (task(0, None), true, true),
            (task(0, Some("https://cdn.example/")), false, true),
            (task(0, None), false, false),
            (task(0, None), true, false),
        ] {
            addresses.answered(&answered, is_private);
            assert_eq!(addresses.reach(&elsewhere, false).is_ok(), may_lead, "{}", answered.uri);
            assert_eq!(addresses.reach(&elsewhere, true), Ok(Reach::Anywhere));
            assert_eq!(addresses.reach(&task(0, None), false), Ok(Reach::Anywhere));
        }
    }

    #[test]
    fn a_limited_number_of_registries_is_remembered() {
        let mut addresses = Addresses::default();
        for number in 0..Addresses::MAX + 9 {
            addresses.answered(&task(number, None), true);
            // The latest one is among them.
            assert!(addresses.reach(&task(number, Some("https://10.0.0.1/")), false).is_ok());
        }
        assert_eq!(addresses.0.len(), Addresses::MAX);
    }
}

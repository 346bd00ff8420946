//! The choice of a mirror: those that have failed a short while ago are passed over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::op::location::BlobLocation;
use crate::op::operation::{Fetch, FetchKind};
use crate::types::reference::name::Repository;
use crate::types::reference::tag_or_digest::TagOrDigest;
use crate::types::time::Time;
use crate::wire::origin::Origin;
use crate::wire::target::{Mirror, Target};

/// How long a mirror is not asked after it has failed in any other way than to lack content.
const AVOIDED_FOR: Duration = Duration::from_secs(60);

/// The mirrors that have failed a short while ago, by origin and repository; without a repository, all at the origin.
#[derive(Debug, Default)]
pub(crate) struct Avoided(BTreeMap<(Origin, Option<Repository>), Time>);

impl Avoided {
    /// Returns the mirror to which a fetch is sent, with its index, or `None` if only the registry itself is left. The
    /// mirrors before `index` have failed it.
    pub(super) fn mirror_for(&self, fetch: &Fetch, index: usize, now: Time) -> Option<(usize, Arc<Target>)> {
        let needs_tags = match &fetch.kind {
            FetchKind::Manifest { name, expected, .. } => {
                matches!(name, TagOrDigest::Tag(_)) && expected.digest.is_none()
            }
            FetchKind::Config(_) => false,
            FetchKind::Blob(blob) => match blob.locations.current() {
                BlobLocation::Blobs | BlobLocation::Manifests => false,
                BlobLocation::Url(_) => return None,
            },
            FetchKind::Call(_) => return None,
        };
        let mut mirrors = fetch.target.mirrors.iter().enumerate().skip(index);
        let (index, mirror) =
            mirrors.find(|(_, mirror)| (mirror.has_tags || !needs_tags) && !self.has(&mirror.target, now))?;
        Some((index, Arc::clone(&mirror.target)))
    }

    /// Returns the origin of the first source of a target that is not avoided.
    pub(super) fn first_source<'a>(&self, target: &'a Target, now: Time) -> &'a Origin {
        let mut mirrors = target.mirrors.iter();
        let first = mirrors.find(|Mirror { target, .. }| !self.has(target, now));
        first.map_or(&target.origin, |mirror| &mirror.target.origin)
    }

    fn has(&self, mirror: &Target, now: Time) -> bool {
        let until = |repository| self.0.get(&(mirror.origin.clone(), repository));
        [None, mirror.repository.clone()].into_iter().filter_map(until).any(|until| *until > now)
    }

    /// Passes over a mirror for a while, since it has failed.
    pub(super) fn add(&mut self, mirror: &Target, error: &Error, now: Time) {
        self.0.retain(|_, until| *until > now);
        // Without a response, nothing at the server can be reached.
        let repository = if error.fault().is_some() { None } else { mirror.repository.clone() };
        self.0.insert((mirror.origin.clone(), repository), now + AVOIDED_FOR);
    }
}

//! Platform selection over an index and its nested indexes, without I/O.

use bytes::Bytes;

use crate::error::{Error, InvalidRequest};
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::types::descriptor::Descriptor;
use crate::types::media_type::Kind;
use crate::types::platform::Platform;
use crate::types::platform::rank::Rank;
use crate::walker::node::{Found, Ticket, WalkStep, Wanted};
use crate::walker::walk::Walker;

/// Selects the image that matches a platform best, from an index and its nested indexes.
///
/// It is driven like a [`Walker`]: [`want`](Self::want) returns an index to fetch,
/// [`supply`](Self::supply) accepts it, and [`next_step`](Self::next_step) returns the selection once
/// all indexes are known. Exact matches rank before compatible ones, and equal matches in document
/// order. An image without a platform is the last resort. Artifacts are never selected.
#[derive(Debug)]
pub struct PlatformSelector {
    asked: Platform,
    walker: Walker,
    best: Option<(Rank, Descriptor)>,
    offered: Vec<Platform>,
}

impl PlatformSelector {
    /// The maximum number of platforms that an error lists.
    const MAX_OFFERED: usize = 32;

    /// Creates a selector over the index `root`. At most `window` indexes are requested at any time.
    pub fn new(root: Descriptor, platform: &Platform, limits: &Limits, window: usize) -> Self {
        let walker = Walker::of_indexes(root, limits, window);
        Self { asked: platform.clone(), walker, best: None, offered: Vec::new() }
    }

    /// Returns the next index to fetch; see [`Walker::want`].
    pub fn want(&mut self) -> Option<Wanted> {
        self.walker.want()
    }

    /// Supplies an index; see [`Walker::supply`].
    pub fn supply(&mut self, ticket: Ticket, bytes: Bytes, content_type: Option<&str>) {
        self.walker.supply(ticket, bytes, content_type);
    }

    /// Reports that an index does not exist, so its images cannot be selected.
    pub fn supply_missing(&mut self, ticket: Ticket) {
        self.walker.supply_missing(ticket);
    }

    /// Advances the selection. Returns `None` until all indexes are known, then the selected image.
    ///
    /// # Errors
    /// Fails if an index cannot be fetched, if a limit is exceeded, or if no image matches the platform.
    pub fn next_step(&mut self) -> Option<Result<Descriptor, Error>> {
        loop {
            match self.walker.next_step() {
                Ok(WalkStep::Node(node)) => {
                    // One image may be listed for several platforms.
                    if matches!(node.found, Found::Leaf | Found::Repeated) && node.kind == Kind::Image {
                        self.consider(node.descriptor);
                    }
                }
                Ok(WalkStep::Blocked) => return None,
                Ok(WalkStep::Finished) => break,
                Err(error) => return Some(Err(error)),
            }
        }
        let no_platform =
            || InvalidRequest::NoPlatform { asked: self.asked.clone(), offered: self.offered.clone() };
        let chosen = self.best.as_ref().map(|(_, descriptor)| descriptor.clone());
        Some(chosen.ok_or_else(|| Error::new(no_platform())))
    }

    /// Supplies the root's manifest, already verified, before anything is requested.
    pub(crate) fn supply_root(&mut self, manifest: Manifest) {
        self.walker.supply_root(manifest);
    }

    pub(crate) fn walker(&mut self) -> &mut Walker {
        &mut self.walker
    }

    fn consider(&mut self, descriptor: Descriptor) {
        let rank = match &descriptor.platform {
            Some(platform) => {
                if self.offered.len() < Self::MAX_OFFERED && !self.offered.contains(platform) {
                    self.offered.push(platform.clone());
                }
                self.asked.rank(platform)
            }
            // An artifact beside the images is never selected by platform.
            None if descriptor.artifact_type.is_some() => None,
            None => Some(Rank::LAST_RESORT),
        };
        if let Some(rank) = rank
            && self.best.as_ref().is_none_or(|(best, _)| rank < *best)
        {
            self.best = Some((rank, descriptor));
        }
    }
}

//! The choice of what fits a platform, over an index and all those that it names. It knows no HTTP.

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

/// The choice of the image that fits a platform best, over an index and all those that it names.
///
/// It is driven as a [`Walker`] is: [`want`](Self::want) says which index is to be read,
/// [`supply`](Self::supply) takes it, and [`next_step`](Self::next_step) says when all are known. Exact fits
/// come before compatible ones, the first in the order of the documents among equals; an image without a
/// platform is the last resort; indexes are descended into, artifacts are never chosen.
#[derive(Debug)]
pub struct PlatformSelector {
    asked: Platform,
    tree: Walker,
    best: Option<(Rank, Descriptor)>,
    offered: Vec<Platform>,
}

impl PlatformSelector {
    /// How many of the platforms that there are an error lists.
    const MAX_OFFERED: usize = 32;

    /// Chooses from what is under the index `root`, with at most `window` indexes wanted at any time.
    pub fn new(root: Descriptor, platform: &Platform, limits: &Limits, window: usize) -> Self {
        let tree = Walker::of_indexes(root, limits, window);
        Self { asked: platform.clone(), tree, best: None, offered: Vec::new() }
    }

    /// The next index to fetch; see [`Walker::want`].
    pub fn want(&mut self) -> Option<Wanted> {
        self.tree.want()
    }

    /// Takes an index; see [`Walker::supply`].
    pub fn supply(&mut self, ticket: Ticket, bytes: Bytes, content_type: Option<&str>) {
        self.tree.supply(ticket, bytes, content_type);
    }

    /// Takes the news that an index does not exist: there is nothing to choose in it.
    pub fn supply_missing(&mut self, ticket: Ticket) {
        self.tree.supply_missing(ticket);
    }

    /// Goes on as far as the indexes are known; the choice, when all of them are.
    ///
    /// # Errors
    /// An index cannot be had, a bound was met, or nothing fits the platform.
    pub fn next_step(&mut self) -> Option<Result<Descriptor, Error>> {
        loop {
            match self.tree.next_step() {
                Ok(WalkStep::Node(node)) => {
                    // One image may be there for several platforms.
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

    /// Takes the root's manifest, which was verified as it arrived, before anything is wanted.
    pub(crate) fn supply_root(&mut self, manifest: Manifest) {
        self.tree.supply_root(manifest);
    }

    pub(crate) fn tree(&mut self) -> &mut Walker {
        &mut self.tree
    }

    fn consider(&mut self, descriptor: Descriptor) {
        let rank = match &descriptor.platform {
            Some(platform) => {
                if self.offered.len() < Self::MAX_OFFERED && !self.offered.contains(platform) {
                    self.offered.push(platform.clone());
                }
                self.asked.rank(platform)
            }
            // An artifact beside the images is never what a platform asks for.
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

//! The documents that are being added to the lists of their subjects' referrers.

use std::collections::BTreeMap;

use crate::types::digest::Digest;
use crate::walker::node::Ticket;

/// Lets one document at a time look at the list of a subject and change it. Several would overwrite each other's entries,
/// where the registry ignores conditions.
#[derive(Debug, Default)]
pub(super) struct Listings {
    by_subject: BTreeMap<Digest, Listing>,
    /// Whether the registry was seen to keep lists by itself.
    pub(super) are_kept: bool,
}

#[derive(Debug)]
struct Listing {
    number: Ticket,
    /// Others with the same subject.
    waiting: Vec<Ticket>,
}

impl Listings {
    /// Returns whether it is this document's turn. Otherwise it waits.
    pub(super) fn begin(&mut self, subject: Digest, number: Ticket) -> bool {
        let listing = self.by_subject.entry(subject).or_insert(Listing { number, waiting: Vec::new() });
        let is_its_turn = listing.number == number;
        if !is_its_turn {
            listing.waiting.push(number);
        }
        is_its_turn
    }

    /// Ends the turn of this document, if it is its turn. Returns those that waited.
    pub(super) fn end(&mut self, subject: &Digest, number: Ticket) -> Vec<Ticket> {
        match self.by_subject.get(subject) {
            Some(listing) if listing.number == number => {
                self.by_subject.remove(subject).map(|listing| listing.waiting).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }
}

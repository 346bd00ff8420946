//! Following the pages of a list, within bounds.

use std::collections::BTreeSet;

use http::Uri;
use sha2::Digest as _;

use crate::error::{Cause, LimitExceeded, Misbehaviour};
use crate::limits::Limits;
use crate::wire::list::{Listed, NamesPage};

/// The pages and entries of a list so far.
///
/// Entries may come in any order, and again on a later page, as they do if the list changes meanwhile. Entries and
/// URLs are remembered by 16 bytes of their SHA-256 digests, so the memory in use does not depend on their lengths.
#[derive(Debug)]
pub(crate) struct Pages {
    of: &'static str,
    page_limit: u32,
    entry_limit: u64,
    urls: BTreeSet<Fingerprint>,
    entries: BTreeSet<Fingerprint>,
    left_out: u64,
    /// Whether the page being read has an entry that no earlier page has.
    has_news: bool,
}

type Fingerprint = [u8; 16];

impl Pages {
    /// Begins a list of `of`, such as `tags`, with the URL of its first page.
    pub(crate) fn new(of: &'static str, first: &Uri, limits: &Limits) -> Self {
        Self {
            of,
            page_limit: limits.list_pages,
            entry_limit: limits.list_entries,
            urls: BTreeSet::from([fingerprint(&first.to_string())]),
            entries: BTreeSet::new(),
            left_out: 0,
            has_news: false,
        }
    }

    /// Takes the names of a page. Returns those that no earlier page has, each once, up to the error if there is one.
    ///
    /// # Errors
    /// Fails if the list has more than [`Limits::list_entries`] entries.
    pub(crate) fn take<T: Listed>(&mut self, page: NamesPage<T>) -> (Vec<T>, Result<(), LimitExceeded>) {
        let mut taken = Vec::new();
        for name in page.names {
            match self.is_new(name.as_str()) {
                Ok(true) => taken.push(name),
                Ok(false) => {}
                Err(exceeded) => return (taken, Err(exceeded)),
            }
        }
        self.left_out = self.left_out.saturating_add(page.left_out);
        // They say nothing about a loop, but a page of nothing else is no reason to end a list.
        self.has_news |= page.left_out > 0;
        (taken, self.check_entries())
    }

    /// Takes one entry of a page, and returns whether no earlier entry is the same.
    ///
    /// # Errors
    /// Fails if the list has more than [`Limits::list_entries`] entries.
    pub(crate) fn is_new(&mut self, entry: &str) -> Result<bool, LimitExceeded> {
        let is_new = self.entries.insert(fingerprint(entry));
        self.has_news |= is_new;
        self.check_entries()?;
        Ok(is_new)
    }

    /// Turns from a page, whose entries were all taken, to the next.
    ///
    /// # Errors
    /// Fails if the next page was read before, if the page that ends has no new entry, or if the list has more than
    /// [`Limits::list_pages`] pages.
    pub(crate) fn turn(&mut self, next: &Uri) -> Result<(), Cause> {
        let unusable = |problem: &str| Misbehaviour::List { of: self.of, problem: problem.to_owned() };
        if !self.urls.insert(fingerprint(&next.to_string())) {
            return Err(unusable("it links to itself: the next page was read before").into());
        }
        if !std::mem::take(&mut self.has_news) {
            return Err(unusable("a page has a next page, but no new entry").into());
        }
        if self.urls.len() as u64 > self.page_limit.into() {
            return Err(LimitExceeded::ListPages(self.page_limit).into());
        }
        Ok(())
    }

    /// Returns the number of entries that were left out, because they are not valid.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    fn check_entries(&self) -> Result<(), LimitExceeded> {
        if self.left_out.saturating_add(self.entries.len() as u64) > self.entry_limit {
            return Err(LimitExceeded::ListEntries(self.entry_limit));
        }
        Ok(())
    }
}

fn fingerprint(text: &str) -> Fingerprint {
    let mut fingerprint = Fingerprint::default();
    fingerprint.iter_mut().zip(sha2::Sha256::digest(text)).for_each(|(to, from)| *to = from);
    fingerprint
}

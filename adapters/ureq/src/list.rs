//! A list as an iterator.

use std::fmt;
use std::iter::FusedIterator;
use std::mem;
use std::vec;

use oci_proto::{Error, Event, Referrer, Repository, Tag};

use crate::call::{Call, Later};

/// An iterator over the entries of a list, created by [`Client::tags`](crate::Client::tags),
/// [`Client::repositories`](crate::Client::repositories) or [`Client::referrers`](crate::Client::referrers).
///
/// The first `next` starts the list. While the entries of a page are taken, the next page is requested, and no
/// further one. Each entry occurs once. An error is the last item. Dropping the list cancels it.
#[must_use = "nothing is sent before the first `next`"]
pub struct List<T> {
    stage: Stage,
    page: vec::IntoIter<T>,
    left_out: u64,
    entries: fn(Event) -> Option<Vec<T>>,
}

enum Stage {
    Fresh(Later),
    Running(Call),
    Over,
}

impl<T> List<T> {
    /// Returns the number of entries that were left out because they are not valid names. It is known at the end of
    /// the list, and 0 before.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn new(start: Later, entries: fn(Event) -> Option<Vec<T>>) -> Self {
        Self { stage: Stage::Fresh(start), page: Vec::new().into_iter(), left_out: 0, entries }
    }
}

impl List<Tag> {
    pub(crate) fn of_tags(start: Later) -> Self {
        Self::new(start, |event| if let Event::Tags(tags) = event { Some(tags) } else { None })
    }
}

impl List<Repository> {
    pub(crate) fn of_repositories(start: Later) -> Self {
        Self::new(start, |event| if let Event::Repositories(names) = event { Some(names) } else { None })
    }
}

impl List<Referrer> {
    pub(crate) fn of_referrers(start: Later) -> Self {
        Self::new(start, |event| if let Event::Referrers(referrers) = event { Some(referrers) } else { None })
    }
}

impl<T> Iterator for List<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.page.next() {
                return Some(Ok(entry));
            }
            let call = match mem::replace(&mut self.stage, Stage::Over) {
                Stage::Fresh(start) => start(),
                Stage::Running(call) => call,
                Stage::Over => return None,
            };
            match call.event() {
                Event::Done => return None,
                Event::Failed(error) => return Some(Err(error)),
                Event::LeftOut(count) => self.left_out = count,
                event => self.page = (self.entries)(event).unwrap_or_default().into_iter(),
            }
            self.stage = Stage::Running(call);
        }
    }
}

impl<T> FusedIterator for List<T> {}

impl<T> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").finish_non_exhaustive()
    }
}

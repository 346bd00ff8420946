//! A list as a stream.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use futures_core::{FusedStream, Stream};
use oci_proto::{Error, Event, Referrer, Repository, Tag};

use crate::call::Call;

/// A stream of the entries of a list, created by [`Client::tags`](crate::Client::tags),
/// [`Client::repositories`](crate::Client::repositories) or [`Client::referrers`](crate::Client::referrers).
///
/// The first poll starts the list. While the entries of a page are taken, the next page is requested, and no
/// further one. Each entry occurs once. An error is the last item.
///
/// # Cancel safety
/// No entry is lost when the future of the next one is dropped. Dropping the list cancels it.
#[must_use = "a list starts when it is polled"]
pub struct List<T> {
    /// `None` once the list has ended.
    call: Option<Call>,
    page: vec::IntoIter<T>,
    left_out: u64,
    entries: fn(Event) -> Option<Vec<T>>,
}

impl<T> List<T> {
    /// Returns the number of entries that were left out because they are not valid names. It is known at the end of
    /// the list, and 0 before.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    fn new(call: Call, entries: fn(Event) -> Option<Vec<T>>) -> Self {
        Self { call: Some(call), page: Vec::new().into_iter(), left_out: 0, entries }
    }
}

impl List<Tag> {
    pub(crate) fn of_tags(call: Call) -> Self {
        Self::new(call, |event| if let Event::Tags(tags) = event { Some(tags) } else { None })
    }
}

impl List<Repository> {
    pub(crate) fn of_repositories(call: Call) -> Self {
        Self::new(call, |event| if let Event::Repositories(names) = event { Some(names) } else { None })
    }
}

impl List<Referrer> {
    pub(crate) fn of_referrers(call: Call) -> Self {
        Self::new(call, |event| if let Event::Referrers(referrers) = event { Some(referrers) } else { None })
    }
}

impl<T: Unpin> Stream for List<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(entry) = self.page.next() {
                return Poll::Ready(Some(Ok(entry)));
            }
            let Some(call) = &mut self.call else { return Poll::Ready(None) };
            match ready!(call.poll_event(cx)) {
                Ok(Event::Done) => self.call = None,
                Ok(Event::LeftOut(count)) => self.left_out = count,
                Ok(event) => self.page = (self.entries)(event).unwrap_or_default().into_iter(),
                Err(error) => {
                    self.call = None;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl<T: Unpin> FusedStream for List<T> {
    fn is_terminated(&self) -> bool {
        self.call.is_none() && self.page.len() == 0
    }
}

impl<T> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("over", &self.call.is_none()).finish_non_exhaustive()
    }
}

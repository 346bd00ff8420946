//! The requests of a list, one page after another.

use crate::error::Error;
use crate::limits::Limits;
use crate::op::operation::{Call, Recipient, Reply};
use crate::wire::endpoint::Endpoint;
use crate::wire::list::pages::Pages;
use crate::wire::origin::next_page;
use crate::wire::status::RequestKind;

/// The requests of a list. A page is requested once all entries of the one before it were reported.
#[derive(Debug)]
pub(crate) struct Paging {
    of: &'static str,
    kind: RequestKind,
    /// The page to request next, unless one is under way or the list has ended.
    next: Option<Recipient>,
    /// The pages so far; `None` before the first.
    pages: Option<Pages>,
    pub(crate) limits: Limits,
}

impl Paging {
    /// Begins a list of `of`, such as `tags`, at this endpoint.
    pub(crate) fn new(of: &'static str, kind: RequestKind, first: Endpoint, limits: &Limits) -> Self {
        let next = Some(Recipient::Endpoint(first));
        Self { of, kind, next, pages: None, limits: limits.clone() }
    }

    /// Returns the request of the next page, once.
    pub(crate) fn next_call(&mut self) -> Option<Call> {
        let call = Call::new(self.kind, self.next.take()?);
        Some(Call { body_limit: Some(self.limits.list_bytes), ..call })
    }

    /// Returns whether no page has arrived.
    pub(crate) fn is_at_start(&self) -> bool {
        self.pages.is_none()
    }

    /// Returns the pages so far, including this one.
    pub(crate) fn pages(&mut self, page: &Reply) -> &mut Pages {
        self.pages.get_or_insert_with(|| Pages::new(self.of, &page.url, &self.limits))
    }

    /// Turns from this page, whose entries were all taken, to the next. Returns whether there is one.
    ///
    /// # Errors
    /// Fails if its link is invalid or leads to another origin, or if the list does not advance.
    pub(crate) fn turn(&mut self, page: &Reply) -> Result<bool, Error> {
        let next = next_page(&page.url, &page.headers).map_err(|why| page.misbehaved(why))?;
        let Some(next) = next else { return Ok(false) };
        self.pages(page).turn(&next).map_err(|why| page.misbehaved(why))?;
        self.next = Some(Recipient::Url(next));
        Ok(true)
    }

    /// Returns the number of entries that were left out, because they are not valid.
    pub(crate) fn left_out(&self) -> u64 {
        self.pages.as_ref().map_or(0, Pages::left_out)
    }
}

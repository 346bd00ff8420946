//! Tags and repositories: reports the names in a list, page by page.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::limits::Limits;
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::operation::{Admission, Fetch, Fetched, OpOutput, Operation, Reply, reply_of};
use crate::op::paging::Paging;
use crate::types::reference::name::{Repository, Tag};
use crate::wire::endpoint::{Endpoint, Page};
use crate::wire::list::{Listed, NamesPage};
use crate::wire::origin::Origin;
use crate::wire::status::{Class, RequestKind};
use crate::wire::target::Target;

/// Lists the tags of a repository.
pub(crate) fn tags(
    target: Arc<Target>,
    repository: &Repository,
    page_size: Option<usize>,
    limits: &Limits,
) -> Names<Tag> {
    let endpoint = Endpoint::Tags(repository.clone(), Page { n: page_size, last: None });
    let paging = Paging::new(Tag::KEY, RequestKind::ListTags, endpoint, limits);
    Names { target, paging, event: Event::Tags, events: VecDeque::new() }
}

/// Lists the repositories of a registry.
pub(crate) fn repositories(
    target: Arc<Target>,
    page_size: Option<usize>,
    limits: &Limits,
) -> Names<Repository> {
    let endpoint = Endpoint::Catalog(Page { n: page_size, last: None });
    let paging = Paging::new(Repository::KEY, RequestKind::ListRepositories, endpoint, limits);
    Names { target, paging, event: Event::Repositories, events: VecDeque::new() }
}

/// Reports the names in a list.
pub(crate) struct Names<T> {
    target: Arc<Target>,
    paging: Paging,
    event: fn(Vec<T>) -> Event,
    events: VecDeque<Event>,
}

impl<T: Listed> Names<T> {
    fn take(&mut self, page: &Reply) -> Result<(), Error> {
        let names = NamesPage::parse(&page.body, self.paging.limits.list_entries);
        let names = names.map_err(|why| page.misbehaved(why))?;
        let (names, taken) = self.paging.pages(page).take(names);
        if !names.is_empty() {
            self.events.push_back((self.event)(names));
        }
        taken.map_err(|why| page.misbehaved(why))?;
        if self.paging.turn(page)? {
            return Ok(());
        }
        let left_out = Some(self.paging.left_out()).filter(|left_out| *left_out > 0);
        self.events.extend(left_out.map(Event::LeftOut));
        self.events.push_back(Event::Done);
        Ok(())
    }
}

impl<T: Listed + Send + Sync + 'static> Operation for Names<T> {
    fn targets(&self) -> &[Arc<Target>] {
        std::slice::from_ref(&self.target)
    }

    fn next_fetch(&mut self, _: &Origin, _: &Habits) -> Option<Admission> {
        if !self.events.is_empty() {
            return None;
        }
        Some(Admission::One(self.paging.next_call()?.at(&self.target, None)))
    }

    fn settle(&mut self, _: &Fetch, outcome: Result<Fetched, Error>, _: &mut Habits) {
        let taken = match reply_of(outcome) {
            Ok(reply) if reply.class == Class::Content => self.take(&reply),
            Ok(reply) => Err(reply.into_error()),
            Err(error) => Err(error),
        };
        self.events.extend(taken.err().map(Event::Failed));
    }

    fn next_output(&mut self) -> Option<OpOutput> {
        self.events.pop_front().map(OpOutput::Event)
    }
}

impl<T> fmt::Debug for Names<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names")
            .field("target", &self.target)
            .field("paging", &self.paging)
            .finish_non_exhaustive()
    }
}

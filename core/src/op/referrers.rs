//! Referrers: reports the manifests whose subject is a manifest, page by page.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Cause, Error, Misbehaviour};
use crate::limits::Limits;
use crate::manifest::error::InvalidManifest;
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::operation::{
    Admission, Call, Fetch, Fetched, OpOutput, Operation, Recipient, Reply, reply_of,
};
use crate::op::paging::Paging;
use crate::types::digest::Digest;
use crate::types::media_type::MediaType;
use crate::types::reference::name::Repository;
use crate::types::reference::tag_or_digest::TagOrDigest;
use crate::wire::endpoint::Endpoint;
use crate::wire::list::referrers::{Referrer, ReferrersPage, fallback_tag};
use crate::wire::origin::Origin;
use crate::wire::status::{Class, RequestKind};
use crate::wire::target::Target;

/// Reports the referrers of a manifest.
///
/// Source: distribution-spec, "Listing Referrers" and "Referrers Tag Schema".
#[derive(Debug)]
pub(crate) struct Referrers {
    target: Arc<Target>,
    list: ReferrersList,
    events: VecDeque<Event>,
}

impl Referrers {
    pub(crate) fn new(
        target: Arc<Target>,
        repository: Repository,
        subject: Digest,
        artifact_type: Option<MediaType>,
        limits: &Limits,
    ) -> Self {
        let list = ReferrersList::new(repository, subject, artifact_type, limits);
        Self { target, list, events: VecDeque::new() }
    }
}

impl Operation for Referrers {
    fn targets(&self) -> &[Arc<Target>] {
        std::slice::from_ref(&self.target)
    }

    fn next_fetch(&mut self, _: &Origin, _: &Habits) -> Option<Admission> {
        if !self.events.is_empty() {
            return None;
        }
        let call = self.list.next_call()?;
        Some(Admission::One(call.at(&self.target, None)))
    }

    fn settle(&mut self, _: &Fetch, outcome: Result<Fetched, Error>, _: &mut Habits) {
        let (referrers, settled) = match reply_of(outcome) {
            Ok(reply) => self.list.settle(reply),
            Err(error) => (Vec::new(), Err(error)),
        };
        self.events.extend((!referrers.is_empty()).then_some(Event::Referrers(referrers)));
        match settled {
            Err(error) => self.events.push_back(Event::Failed(error)),
            Ok(()) => self.events.extend(self.list.is_over().then_some(Event::Done)),
        }
    }

    fn next_output(&mut self) -> Option<OpOutput> {
        self.events.pop_front().map(OpOutput::Event)
    }
}

/// The requests that list the referrers of a manifest. If the registry does not implement the list, the index under
/// the fallback tag is read instead.
#[derive(Debug)]
pub(crate) struct ReferrersList {
    repository: Repository,
    subject: Digest,
    artifact_type: Option<MediaType>,
    paging: Paging,
    /// The request for the fallback tag, unless it is under way.
    fallback: Option<Box<Call>>,
    is_over: bool,
}

impl ReferrersList {
    pub(crate) fn new(
        repository: Repository,
        subject: Digest,
        artifact_type: Option<MediaType>,
        limits: &Limits,
    ) -> Self {
        let endpoint = Endpoint::Referrers(repository.clone(), subject.clone(), artifact_type.clone(), None);
        let paging = Paging::new(ReferrersPage::OF, RequestKind::ListReferrers, endpoint, limits);
        Self { repository, subject, artifact_type, paging, fallback: None, is_over: false }
    }

    /// Returns the next request, or `None` while one is under way, and at the end.
    pub(crate) fn next_call(&mut self) -> Option<Call> {
        self.fallback.take().map(|call| *call).or_else(|| self.paging.next_call())
    }

    /// Takes a response. Returns its referrers that no earlier one has, up to the error if there is one.
    pub(crate) fn settle(&mut self, reply: Reply) -> (Vec<Referrer>, Result<(), Error>) {
        let mut referrers = Vec::new();
        let settled = if reply.kind == RequestKind::ListReferrers {
            self.settle_page(reply, &mut referrers)
        } else {
            self.settle_fallback(reply, &mut referrers)
        };
        (referrers, settled)
    }

    /// Returns whether all pages were read.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    fn settle_page(&mut self, reply: Reply, referrers: &mut Vec<Referrer>) -> Result<(), Error> {
        let can_fall_back = self.paging.is_at_start();
        match reply.class {
            Class::Unsupported if can_fall_back => self.fall_back(),
            Class::Content => match ReferrersPage::parse(reply.body.clone(), &reply.headers) {
                Ok(page) => {
                    self.take(&page, &reply, referrers)?;
                    self.is_over = !self.paging.turn(&reply)?;
                }
                Err(Misbehaviour::Manifest(invalid)) if can_fall_back && is_no_list(&invalid) => {
                    self.fall_back();
                }
                Err(misbehaviour) => return Err(reply.misbehaved(misbehaviour)),
            },
            _ => return Err(reply.into_error()),
        }
        Ok(())
    }

    /// Requests the index under the fallback tag.
    fn fall_back(&mut self) {
        let name = TagOrDigest::Tag(fallback_tag(&self.subject));
        let endpoint = Endpoint::Manifest(self.repository.clone(), name, Vec::new(), None);
        let call = Call::new(RequestKind::GetManifest, Recipient::Endpoint(endpoint));
        self.fallback = Some(Box::new(Call { body_limit: Some(self.paging.limits.list_bytes), ..call }));
    }

    fn settle_fallback(&mut self, reply: Reply, referrers: &mut Vec<Referrer>) -> Result<(), Error> {
        self.is_over = true;
        match reply.class {
            Class::Content => {
                let page = ReferrersPage::parse_fallback(&self.subject, reply.body.clone(), &reply.headers);
                let page = page.map_err(|misbehaviour| reply.misbehaved(misbehaviour))?;
                self.take(&page, &reply, referrers)
            }
            _ if reply.error.as_ref().is_some_and(Error::is_not_found) => Ok(()),
            _ => Err(reply.into_error()),
        }
    }

    fn take(
        &mut self,
        page: &ReferrersPage,
        reply: &Reply,
        referrers: &mut Vec<Referrer>,
    ) -> Result<(), Error> {
        let pages = self.paging.pages(reply);
        for referrer in page.select(pages, self.artifact_type.as_ref()) {
            referrers.push(referrer.map_err(|exceeded| reply.misbehaved(Cause::from(exceeded)))?);
        }
        Ok(())
    }
}

/// Returns whether a document is something else than a list of referrers, such as a login page, because the
/// registry does not implement the list. A list with an invalid entry is an error.
fn is_no_list(invalid: &InvalidManifest) -> bool {
    use InvalidManifest::{Encoding, Kind, SchemaVersion, Syntax, Unrecognised, WebPage};
    matches!(
        invalid,
        WebPage | Syntax { .. } | Encoding(_) | Unrecognised | Kind { .. } | SchemaVersion(None)
    )
}

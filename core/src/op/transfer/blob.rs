//! A blob on its way to the destination: its upload, its locations at the source, and the look at what was stored.

use std::sync::Arc;

use http::Uri;

use crate::config::Config;
use crate::error::Error;
use crate::op::blob_upload::state::BlobUpload;
use crate::op::event::Stored;
use crate::op::habits::Habits;
use crate::op::location::Locations;
use crate::op::manifest_upload::{LOOKS, not_stored};
use crate::op::operation::{Admission, BlobFetch, Call, Failed, Fetch, FetchKind, Recipient, Reply};
use crate::op::order::Leaf;
use crate::types::descriptor::Descriptor;
use crate::types::id::OpId;
use crate::types::reference::name::Repository;
use crate::wire::endpoint::Endpoint;
use crate::wire::request::Payload;
use crate::wire::status::{Class, RequestKind};
use crate::wire::target::Target;

/// A blob on its way to the destination.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) descriptor: Descriptor,
    to: Arc<Target>,
    upload: BlobUpload,
    /// The locations at the source.
    locations: Locations,
    acknowledged: u64,
    look: Look,
}

/// The look at what the registry says that it has stored.
#[derive(Debug)]
enum Look {
    /// It is not asked.
    Never,
    /// It is asked once it has stored the content.
    Later,
    /// It is to be asked, after this many times. The last failure is yet to be reported.
    Next(u32, Option<Failed>),
    UnderWay(u32),
    Failed(Error),
}

impl Blob {
    pub(super) fn new(
        op: OpId,
        to: &Arc<Target>,
        leaf: Leaf,
        mount: Option<Repository>,
        verifies: bool,
        config: &Config,
    ) -> Self {
        Self {
            locations: leaf.locations(),
            upload: BlobUpload::known(op, to.clone(), &leaf.descriptor, mount, config),
            descriptor: leaf.descriptor,
            to: to.clone(),
            acknowledged: 0,
            look: if verifies { Look::Later } else { Look::Never },
        }
    }

    /// Returns the next request, or `None` while one is under way. An upload from another registry is paired with
    /// its download.
    pub(super) fn next(&mut self, from: Option<&Arc<Target>>, habits: &Habits) -> Option<Admission> {
        let mut call = match &mut self.look {
            Look::UnderWay(_) | Look::Failed(_) => return None,
            Look::Never | Look::Later => self.upload.next_call(habits)?,
            Look::Next(count, after) => {
                let after = after.take();
                self.look = Look::UnderWay(*count);
                let blob = Endpoint::Blob(self.to.repository.clone()?, self.descriptor.digest.clone());
                Call { after, ..Call::new(RequestKind::HeadBlob, Recipient::Endpoint(blob)) }
            }
        };
        call.content = Some(self.descriptor.digest.clone());
        let (Some(from), Payload::Source(source)) = (from, &call.payload) else {
            return Some(Admission::One(call.at(&self.to, None)));
        };
        let get = BlobFetch {
            digest: self.descriptor.digest.clone(),
            size: Some(source.size),
            locations: self.locations.clone(),
            resume: None,
            feeds_from: Some(source.start),
            may_restart: false,
            discard: false,
            has_others: false,
        };
        let kind = FetchKind::Blob(Box::new(get));
        let get = Fetch { target: from.clone(), kind, ticket: None, is_search: false };
        Some(Admission::Pair(Box::new((get, call.at(&self.to, None)))))
    }

    /// Returns the next request if it is another attempt after a failure.
    pub(super) fn next_attempt(&mut self, from: Option<&Arc<Target>>, habits: &Habits) -> Option<Admission> {
        let has_failed = match &self.look {
            Look::Next(_, after) => after.is_some(),
            Look::Never | Look::Later => self.upload.has_failed(),
            Look::UnderWay(_) | Look::Failed(_) => false,
        };
        if has_failed { self.next(from, habits) } else { None }
    }

    /// Takes the outcome of the request.
    pub(super) fn settle(&mut self, outcome: Result<Reply, Error>, habits: &mut Habits) {
        if let Look::UnderWay(count) = self.look {
            return self.looked(count + 1, outcome);
        }
        self.upload.settle(outcome, habits);
        if matches!(self.look, Look::Later)
            && let Some(Ok(stored)) = self.upload.ended()
        {
            self.look = if stored == Stored::Existing { Look::Never } else { Look::Next(0, None) };
        }
    }

    fn looked(&mut self, count: u32, outcome: Result<Reply, Error>) {
        let error = match outcome {
            Ok(reply) if reply.class == Class::Content => return self.look = Look::Never,
            Ok(reply) => not_stored(reply, &self.descriptor.digest),
            Err(error) => return self.look = Look::Failed(error),
        };
        let is_missing = error.status().is_none();
        self.look = if is_missing && count < LOOKS {
            Look::Next(count, Some(Failed { error, count }))
        } else {
            Look::Failed(error)
        };
    }

    /// Handles the failure of the download, which has stopped the upload. Returns the error if it fails the blob.
    pub(super) fn source_failed(&mut self, has_others: bool, error: Error) -> Result<(), Error> {
        // A download that fails after its upload has ended is of no interest.
        if !self.upload.is_sending() {
            return Ok(());
        }
        if !has_others && !self.locations.fall_back(&error) {
            return Err(error);
        }
        self.upload.cut_off(error);
        Ok(())
    }

    /// Returns the number of bytes that the registry has acknowledged, if it has changed.
    pub(super) fn progress(&mut self) -> Option<u64> {
        let bytes = self.upload.acknowledged();
        (std::mem::replace(&mut self.acknowledged, bytes) != bytes).then_some(bytes)
    }

    /// Returns how it ended, once it has.
    pub(super) fn ended(&self) -> Option<Result<Stored, &Error>> {
        match &self.look {
            Look::Never | Look::Later => self.upload.ended(),
            Look::Next(..) | Look::UnderWay(_) => None,
            Look::Failed(error) => Some(Err(error)),
        }
    }

    /// Returns whether the registry has refused to mount it.
    pub(super) fn is_mount_refused(&self) -> bool {
        self.upload.is_mount_refused()
    }

    /// Returns the URLs of the upload sessions that are open.
    pub(super) fn open_sessions(&self) -> impl Iterator<Item = &Uri> {
        self.upload.open_sessions()
    }
}

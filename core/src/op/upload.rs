//! Upload: sends one blob to a repository.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;

use crate::error::Error;
use crate::op::blob_upload::state::BlobUpload;
use crate::op::event::Event;
use crate::op::habits::Habits;
use crate::op::operation::{Admission, Fetch, Fetched, OpOutput, Operation, reply_of};
use crate::types::descriptor::Descriptor;
use crate::types::media_type::MediaType;
use crate::wire::origin::Origin;
use crate::wire::target::Target;

/// Sends one blob to a repository.
#[derive(Debug)]
pub(crate) struct Upload {
    target: Arc<Target>,
    media_type: MediaType,
    blob: BlobUpload,
    acknowledged: u64,
    events: VecDeque<Event>,
    has_ended: bool,
}

impl Upload {
    pub(crate) fn new(target: Arc<Target>, media_type: MediaType, blob: BlobUpload) -> Self {
        let events = VecDeque::new();
        Self { target, media_type, blob, acknowledged: 0, events, has_ended: false }
    }

    /// Reports progress and the end.
    fn report(&mut self) {
        let bytes = self.blob.acknowledged();
        let content = self.blob.content();
        if bytes != self.acknowledged {
            self.acknowledged = bytes;
            let digest = content.as_ref().map(|(digest, _)| digest.clone());
            self.events.push_back(Event::Acknowledged { digest, bytes });
        }
        match self.blob.ended() {
            _ if self.has_ended => {}
            None => {}
            Some(Err(error)) => {
                self.events.push_back(Event::Failed(error.clone()));
                self.has_ended = true;
            }
            Some(Ok(stored)) => {
                if let Some((digest, size)) = content {
                    let descriptor = Descriptor::new(self.media_type.clone(), digest, size);
                    self.events.push_back(Event::Stored(descriptor, stored));
                }
                self.events.push_back(Event::Done);
                self.has_ended = true;
            }
        }
    }
}

impl Operation for Upload {
    fn targets(&self) -> &[Arc<Target>] {
        std::slice::from_ref(&self.target)
    }

    fn next_fetch(&mut self, _: &Origin, habits: &Habits) -> Option<Admission> {
        let call = self.blob.next_call(habits)?;
        Some(Admission::One(call.at(&self.target, None)))
    }

    fn settle(&mut self, _: &Fetch, outcome: Result<Fetched, Error>, habits: &mut Habits) {
        self.blob.settle(reply_of(outcome), habits);
    }

    fn next_attempt(&mut self, _: &Fetch, habits: &Habits) -> Option<Admission> {
        let call = self.blob.next_attempt(habits)?;
        Some(Admission::One(call.at(&self.target, None)))
    }

    fn next_output(&mut self) -> Option<OpOutput> {
        self.report();
        if let Some(event) = self.events.pop_front() {
            return Some(OpOutput::Event(event));
        }
        self.blob.wants().map(OpOutput::Read)
    }

    fn read(&mut self, bytes: Bytes, is_last: bool) {
        self.blob.read(bytes, is_last);
    }

    fn open_uploads(&self) -> Vec<(Arc<Target>, Uri)> {
        self.blob.open_sessions().map(|url| (self.target.clone(), url.clone())).collect()
    }
}

//! Pairs: a download and the upload that it feeds. They are sent together, and the upload verifies the bytes.

use crate::error::{Cause, Misbehaviour};
use crate::session::state::Session;
use crate::session::task::{Task, TaskState};
use crate::types::digest::Digest;
use crate::types::id::TaskId;

impl Session {
    /// Handles the end of a download whose upload has received all bytes. It may still have to be sent again, or turn
    /// out to be wrong, until the upload ends.
    pub(super) fn delivered(&mut self, download: TaskId) {
        self.remember(download);
        let Some(task) = self.tasks.get_mut(&download) else { return };
        task.state = TaskState::Delivered;
        if let Some(origin) = task.half.as_mut().and_then(|half| half.slot.take()) {
            self.lanes.unreserve(&origin, self.now);
        }
    }

    /// Fails the download of an upload whose payload was refused: its source has sent other content.
    pub(super) fn source_is_wrong(&mut self, upload: TaskId, computed: Digest) {
        let Some((download, expected)) = self.download_of(upload) else { return };
        // Its exchange has ended, so stopping it later does not free its slot again.
        if let Some(task) = self.tasks.get_mut(&upload) {
            task.state = TaskState::Parked;
        }
        self.abort(download);
        self.fail_task(download, Cause::from(Misbehaviour::WrongDigest { expected, computed }));
    }

    /// Sends both halves of a pair again, since the server of the upload has not processed its request. The bytes that
    /// were downloaded are gone.
    pub(super) fn repeat_pair(&mut self, upload: TaskId) {
        let Some((download, _)) = self.download_of(upload) else { return };
        let fetch = self.tasks.get(&download).and_then(Task::original_fetch);
        let op = self.tasks.get(&download).and_then(Task::op);
        let (Some(fetch), Some(op)) = (fetch, op) else { return };
        if let Some(task) = self.tasks.get_mut(&upload) {
            task.state = TaskState::Parked;
        }
        self.forget_task(op, download);
        match self.begin_fetch(op, fetch) {
            Some(download) => {
                self.pair(download, upload);
                self.queue(download);
            }
            None => self.forget_task(op, upload),
        }
    }

    /// Returns the download that feeds an upload, and the digest of their content.
    fn download_of(&self, upload: TaskId) -> Option<(TaskId, Digest)> {
        let download = self.tasks.get(&upload)?.half.as_ref()?.other;
        let part = self.tasks.get(&download)?.part.as_ref()?;
        Some((download, part.sink.digest.clone()))
    }
}

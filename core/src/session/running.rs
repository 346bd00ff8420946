//! A running operation, with the session's state for it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::error::Error;
use crate::header::warning::Warning;
use crate::op::event::Event;
use crate::op::operation::Operation;
use crate::types::id::{QueryId, TaskId};
use crate::types::reference::name::Repository;
use crate::types::time::Time;
use crate::wire::origin::Origin;
use crate::wire::redact::{Forms, Redactor};

/// A running operation, with the session's state for it.
pub(crate) struct Running {
    pub(crate) op: Box<dyn Operation>,
    /// The number of repositories that it may address, including those of mirrors.
    pub(crate) targets: usize,
    pub(crate) tasks: BTreeSet<TaskId>,
    /// Its unanswered questions.
    pub(crate) asked: BTreeSet<QueryId>,
    /// The unanswered questions that must be asked again, since the driver that received them is gone.
    pub(crate) to_ask: BTreeSet<QueryId>,
    /// Events that the session raises: retries and warnings.
    pub(crate) notices: VecDeque<Event>,
    /// The warnings that were reported.
    pub(crate) warned: BTreeSet<Warning>,
    /// The mirrors that have supplied content, by origin and repository.
    pub(crate) supplied: BTreeSet<(Origin, Option<Repository>)>,
    /// What its ended requests have shown.
    pub(crate) shown: Redactor,
    /// The forms of the secrets in the last event that was redacted, and what had been shown then.
    pub(crate) forms: Option<(Redactor, Arc<Forms>)>,
    pub(crate) paused: bool,
    pub(crate) deadline: Option<Time>,
    /// The error with which the session ends it.
    pub(crate) ended: Option<Error>,
    /// Whether it is in the session's list of ready operations.
    pub(crate) is_ready: bool,
    /// The origins whose queues contain it.
    pub(crate) queued: Vec<Origin>,
}

impl Running {
    pub(crate) fn new(op: Box<dyn Operation>) -> Self {
        Self {
            targets: op.targets().iter().map(|target| target.with_mirrors().count()).sum(),
            op,
            tasks: BTreeSet::new(),
            asked: BTreeSet::new(),
            to_ask: BTreeSet::new(),
            notices: VecDeque::new(),
            warned: BTreeSet::new(),
            supplied: BTreeSet::new(),
            shown: Redactor::default(),
            forms: None,
            paused: false,
            deadline: None,
            ended: None,
            is_ready: false,
            queued: Vec::new(),
        }
    }
}

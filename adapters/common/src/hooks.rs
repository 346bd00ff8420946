//! Callbacks of a client.

use std::fmt;
use std::sync::Arc;

use oci_proto::header::Warning;
use oci_proto::{MirrorReport, Retry};

use crate::notice::Notice;

/// The user's hooks. A client runs them in the call that caused the event, never while it holds a lock.
#[derive(Clone)]
#[non_exhaustive]
pub struct Hooks {
    /// Called before a request is retried.
    pub retry: Arc<dyn Fn(&Retry) + Send + Sync>,
    /// Called when a mirror has supplied content, or failed to.
    pub mirror: Arc<dyn Fn(&MirrorReport) + Send + Sync>,
    /// Called with a notice, while a client is built.
    pub notice: Arc<dyn Fn(&Notice) + Send + Sync>,
    /// Called with a registry's warning.
    pub warning: Arc<dyn Fn(&Warning) + Send + Sync>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            retry: Arc::new(|_| ()),
            mirror: Arc::new(|_| ()),
            notice: Arc::new(|_| ()),
            warning: Arc::new(|_| ()),
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

//! What a user of the client is told besides the results.

use oci_proto::Retry;
use oci_proto::header::Warning;

/// The user's own code. Runs in the call that it is told of, and never under a lock.
pub(crate) struct Hooks {
    pub(crate) retry: Box<dyn Fn(&Retry) + Send + Sync>,
    pub(crate) warning: Box<dyn Fn(&Warning) + Send + Sync>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self { retry: Box::new(|_| ()), warning: Box::new(|_| ()) }
    }
}

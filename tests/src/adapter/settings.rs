//! What both adapters are told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use oci_proto::header::Warning;
use oci_proto::{Config, Retry};
use oci_proto_tokio::credentials::Store;

/// The settings of a client.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Settings {
    /// The session's settings; each adapter's own where there are none.
    pub config: Option<Config>,
    /// Where logins are looked up; nowhere if this is not said.
    pub credentials: Option<Store>,
    /// A proxy, in place of what the environment says.
    pub proxy: Option<String>,
    /// Certificates to trust, as PEM.
    pub roots: Option<String>,
    /// How long making a connection may take.
    pub connect_timeout: Option<Duration>,
    /// How long nothing may arrive.
    pub idle_timeout: Option<Duration>,
    /// How long an operation may take.
    pub timeout: Option<Duration>,
    /// What is told of retries.
    pub on_retry: Option<Hook<Retry>>,
    /// What is told the registries' warnings.
    pub on_warning: Option<Hook<Warning>>,
}

/// A test's own code, for a client to run.
pub struct Hook<T>(Arc<dyn Fn(&T) + Send + Sync>);

impl<T> Hook<T> {
    /// A hook that does this.
    pub fn new(does: impl Fn(&T) + Send + Sync + 'static) -> Self {
        Self(Arc::new(does))
    }

    /// Does it.
    pub(super) fn run(&self, told: &T) {
        (self.0)(told);
    }
}

impl<T> Clone for Hook<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Hook<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").finish_non_exhaustive()
    }
}

//! Logins.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use oci_proto::server::User;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// What the header Authorization of a request says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a login is right, wrong, or no login")]
pub enum Login {
    /// The login of this user, whose password is right.
    User(User),
    /// No login. The request may do what everyone may do.
    Nobody,
    /// A login that is wrong. The request is refused.
    Refused,
}

/// The hook that checks logins.
#[derive(Clone)]
pub(super) struct LoginHook {
    hook: Arc<dyn Fn(&HeaderValue) -> Login + Send + Sync>,
    /// The calls that may begin.
    places: Arc<Semaphore>,
}

impl LoginHook {
    pub(super) fn new(hook: impl Fn(&HeaderValue) -> Login + Send + Sync + 'static, places: usize) -> Self {
        Self { hook: Arc::new(hook), places: Arc::new(Semaphore::new(places)) }
    }

    pub(super) async fn check(&self, header: &HeaderValue) -> Login {
        let place = self.places.clone().acquire_owned().await;
        let (hook, header) = (self.hook.clone(), header.clone());
        let checking = spawn_blocking(move || {
            let _place = place;
            hook(&header)
        });
        checking.await.unwrap_or(Login::Refused)
    }
}

impl fmt::Debug for LoginHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginHook").finish_non_exhaustive()
    }
}

//! Looking up logins: on threads beside those of the pool, which a slow credential helper must not hold up.

use std::sync::Arc;
use std::thread;

use oci_proto::{CredentialsQuery, Fault, FaultKind, QueryId};

use crate::driver::Shared;
use crate::state::{State, Turn};

impl Shared {
    /// Answers the session's question for a login, later. There is one such question for each registry at a
    /// time.
    pub(crate) fn look_up(self: &Arc<Self>, state: &mut State, id: QueryId, query: CredentialsQuery) {
        let (store, waiting) = (self.credentials.clone(), Arc::downgrade(self));
        let look_up = move || {
            let found = store.look_up(&query);
            if let Some(shared) = waiting.upgrade() {
                let mut state = shared.lock();
                state.session.credentials(shared.now(), id, found);
                shared.drive(&mut state, Turn::Passing);
            }
        };
        if let Err(error) = thread::Builder::new().name("oci-proto-login".to_owned()).spawn(look_up) {
            let fault = Fault::new(FaultKind::Credentials, format_args!("no thread: {error}"));
            state.session.credentials(self.now(), id, Err(fault));
        }
    }
}

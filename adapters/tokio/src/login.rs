//! Looking up logins, which blocks: on threads.

use std::sync::Arc;
use std::thread;

use oci_proto::{Credentials, CredentialsQuery, Fault, FaultKind, QueryId};

use crate::Transport;
use crate::driver::Shared;

/// Answers the session's question for a login, later. There is one such question for each registry at a time.
///
/// The thread is not the runtime's, which would wait for a slow credential helper before it shuts down.
pub(crate) fn look_up<T: Transport>(shared: &Arc<Shared<T>>, id: QueryId, query: CredentialsQuery) {
    let (store, waiting) = (shared.credentials.clone(), Arc::downgrade(shared));
    let look_up = move || {
        let found = store.look_up(&query);
        if let Some(shared) = waiting.upgrade() {
            answer(&shared, id, found);
        }
    };
    if let Err(error) = thread::Builder::new().name("oci-proto-login".to_owned()).spawn(look_up) {
        answer(shared, id, Err(Fault::new(FaultKind::Credentials, format_args!("no thread: {error}"))));
    }
}

fn answer<T: Transport>(shared: &Arc<Shared<T>>, id: QueryId, found: Result<Option<Credentials>, Fault>) {
    shared.step(|state, now| state.session.credentials(now, id, found));
}

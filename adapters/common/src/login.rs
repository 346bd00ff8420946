//! Looking up logins in threads, since lookups block.

use std::panic::{self, AssertUnwindSafe};
use std::thread;

use oci_proto::{Credentials, CredentialsQuery, Fault, FaultKind};
use oci_proto_credentials::Store;

/// Looks up a login in a new thread, and calls `answer` there with the result.
///
/// A lookup may run a credential helper that prompts the user. In its own thread it blocks neither a
/// client's other work nor the shutdown of a runtime. A session has at most one open query per registry,
/// which limits the number of threads.
///
/// # Errors
/// The thread cannot be started. `answer` is not called; answer the query with the fault.
pub fn look_up(
    store: &Store,
    query: CredentialsQuery,
    answer: impl FnOnce(Result<Option<Credentials>, Fault>) + Send + 'static,
) -> Result<(), Fault> {
    let store = store.clone();
    in_new_thread(move || store.look_up(&query), answer)
}

fn in_new_thread(
    find: impl FnOnce() -> Result<Option<Credentials>, Fault> + Send + 'static,
    answer: impl FnOnce(Result<Option<Credentials>, Fault>) + Send + 'static,
) -> Result<(), Fault> {
    let look_up = move || {
        // Calls wait for the answer, so a panic must yield one. No state that it may have broken is used
        // again.
        let found = panic::catch_unwind(AssertUnwindSafe(find));
        answer(found.unwrap_or_else(|_| Err(Fault::new(FaultKind::Credentials, "the look-up panicked"))));
    };
    thread::Builder::new().name("oci-proto-login".to_owned()).spawn(look_up).map(drop).map_err(|error| {
        Fault::new(FaultKind::Credentials, format_args!("could not start a thread: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_panicking_look_up_is_answered() {
        let (answer, answered) = mpsc::channel();
        in_new_thread(|| panic!("a defect"), move |found| answer.send(found).unwrap()).unwrap();
        let fault = answered.recv().unwrap().unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Credentials);
        assert_eq!(fault.message(), "the look-up panicked");
    }
}

//! Looking up logins in threads, since lookups block.

use std::panic::{self, AssertUnwindSafe};
use std::thread;

use oci_proto::{Answer, Credentials, CredentialsQuery, Fault, FaultKind, QueryId, Session, Time};
use oci_proto_credentials::Store;

/// Looks up a login in a new thread, and calls `answer` there with the result.
///
/// A lookup may run a credential helper that prompts the user. In its own thread it blocks neither a
/// client's other work nor the shutdown of a runtime. A session has at most one open query per repository,
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

/// Kills the credential helpers of a client whose operations have all ended, and answers its open queries, so
/// that no later operation waits for them.
pub fn end_look_ups(store: &Store, open: &mut Vec<QueryId>, session: &mut Session, now: Time) {
    if open.is_empty() || !session.is_idle() {
        return;
    }
    for query in open.drain(..) {
        let fault = Fault::new(FaultKind::Credentials, "the operation ended");
        session.answer(now, query, Answer::Failed(fault));
    }
    store.kill_helpers();
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

    use http::header::WWW_AUTHENTICATE;
    use http::{HeaderMap, HeaderValue, StatusCode};
    use oci_proto::{Config, Output};

    #[test]
    fn open_queries_of_ended_operations_are_answered() {
        let mut session = Session::new(Config::default(), 0);
        let op = session.resolve(&"registry.example/app:1".parse().unwrap(), None);
        let mut open = Vec::new();
        loop {
            match session.poll_output(Time::ZERO) {
                Output::Send(exchange) => {
                    let challenge = HeaderValue::from_static("Basic realm=\"r\"");
                    let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, challenge)]);
                    let (_, _, awaiting) = exchange.split();
                    session.complete(Time::ZERO, awaiting.head(StatusCode::UNAUTHORIZED, headers).finish());
                }
                Output::Ask(query, _) => open.push(query),
                _ => break,
            }
        }
        let store = Store::none();
        end_look_ups(&store, &mut open, &mut session, Time::ZERO);
        assert_eq!((open.len(), session.unanswered()), (1, 1));
        session.cancel(op);
        end_look_ups(&store, &mut open, &mut session, Time::ZERO);
        assert_eq!((open.len(), session.unanswered()), (0, 0));
    }

    #[test]
    fn a_panicking_look_up_is_answered() {
        let (answer, answered) = mpsc::channel();
        in_new_thread(|| panic!("a defect"), move |found| answer.send(found).unwrap()).unwrap();
        let fault = answered.recv().unwrap().unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Credentials);
        assert_eq!(fault.message(), "the look-up panicked");
    }
}

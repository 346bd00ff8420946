//! Errors say whether a login was shown: what helps then is another one, and none otherwise.

use bytes::Bytes;
use http::Response;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use oci_proto::{Config, Credentials, Error, Event, Output, Session, Time};

const BASIC: &str = "Basic realm=x";
const BEARER: &str = r#"Bearer realm="https://auth.example/token""#;

/// A status, and what is wanted.
type Answer = (u16, Option<&'static str>);

/// How a manifest fails, where the registry answers so while it is shown nothing, and so then, and its token
/// server so.
fn failure(login: Option<&Credentials>, at_first: Answer, then: Answer, token: u16) -> Error {
    let mut session = Session::new(Config::default(), 1);
    session.manifest(&"registry.example/team/app:1".parse().expect("a reference"), None);
    loop {
        match session.poll_output(Time::ZERO) {
            Output::Send(exchange) => {
                let (request, awaiting) = exchange.split();
                let is_shown = request.headers().contains_key(AUTHORIZATION);
                let (status, wanted) = match request.uri().host() {
                    Some("auth.example") => (token, None),
                    _ if is_shown => then,
                    _ => at_first,
                };
                let mut head = Response::builder().status(status);
                if let Some(wanted) = wanted {
                    head = head.header(WWW_AUTHENTICATE, wanted);
                }
                let (head, body) =
                    head.body(Bytes::from_static(br#"{"token":"t"}"#)).expect("a response").into_parts();
                let mut receiving = awaiting.head(&head);
                receiving.push(&body).expect("a body that is wanted");
                session.complete(Time::ZERO, receiving.finish());
            }
            Output::Credentials(query, _) => session.credentials(Time::ZERO, query, Ok(login.cloned())),
            Output::Event(_, Event::Failed(error)) => return error,
            other => panic!("it goes on: {other:?}"),
        }
    }
}

#[test]
fn an_error_hints_at_a_login_only_where_none_was_shown() {
    let user = || Credentials::login("user", "password").ok();
    let given = || Some(Credentials::Bearer("given".into()));
    let (basic, bearer) = ((401, Some(BASIC)), (401, Some(BEARER)));
    for (login, at_first, then, token, hint) in [
        (None, basic, basic, 200, "log in to the registry"),
        (None, (401, None), basic, 200, "log in to the registry"),
        (None, (403, None), basic, 200, "a login may help"),
        (user(), basic, basic, 200, "the login may be wrong"),
        (user(), basic, (401, None), 200, "the login may be wrong"),
        (user(), basic, (401, Some("Negotiate")), 200, "the login may be wrong"),
        (user(), basic, (403, None), 200, "the login may be wrong"),
        // A token is no login, if nobody had to log in for it.
        (None, bearer, bearer, 200, "log in to the registry"),
        (None, bearer, (401, None), 200, "log in to the registry"),
        (None, bearer, (403, None), 200, "a login may help"),
        (None, bearer, bearer, 401, "log in to the registry"),
        (user(), bearer, bearer, 200, "the login may be wrong"),
        (user(), bearer, (403, None), 200, "the login may be wrong"),
        (user(), bearer, bearer, 401, "the login may be wrong"),
        (given(), bearer, bearer, 200, "the login may be wrong"),
        // What the registry wants now, nobody has.
        (None, bearer, basic, 200, "log in to the registry"),
    ] {
        let error = failure(login.as_ref(), at_first, then, token);
        let said = error.hint().unwrap_or_default();
        assert!(said.starts_with(hint), "{login:?} {at_first:?} {then:?} {token}: {error}: {said}");
    }
}

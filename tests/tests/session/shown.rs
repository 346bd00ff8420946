//! Errors tell whether credentials were sent, and so whether to log in or to check the credentials.

use bytes::Bytes;
use http::Response;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use oci_proto::{Config, Credentials, Error, Event, Output, Question, Session, Time};

const BASIC: &str = "Basic realm=x";
const BEARER: &str = r#"Bearer realm="https://auth.example/token""#;

/// A status and a challenge.
type Answer = (u16, Option<&'static str>);

/// The failure of a manifest, given the registry's response without credentials, its response with them, and
/// the status of its token server.
fn failure(login: Option<&Credentials>, at_first: Answer, then: Answer, token: u16) -> Error {
    let mut session = Session::new(Config::default(), 1);
    session.manifest(&"registry.example/team/app:1".parse().expect("a reference"), None);
    loop {
        match session.poll_output(Time::ZERO) {
            Output::Send(exchange) => {
                let (request, _sending, awaiting) = exchange.split();
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
                let mut receiving = awaiting.head(head.status, head.headers);
                receiving.push(&body).expect("a body that is wanted");
                session.complete(Time::ZERO, receiving.finish());
            }
            Output::Ask(query, Question::Credentials(_)) => {
                session.answer(Time::ZERO, query, oci_proto::Answer::Credentials(login.cloned()));
            }
            Output::Event(_, Event::Failed(error)) => return error,
            other => panic!("the operation does not end: {other:?}"),
        }
    }
}

#[test]
fn an_error_suggests_a_login_only_if_no_credentials_were_sent() {
    let user = || Credentials::login("user", "password").ok();
    let given = || Some(Credentials::Bearer("given".into()));
    let (basic, bearer) = ((401, Some(BASIC)), (401, Some(BEARER)));
    for (login, at_first, then, token, hint) in [
        (None, basic, basic, 200, "log in to the registry"),
        (None, (401, None), basic, 200, "log in to the registry"),
        (None, (403, None), basic, 200, "a login may help"),
        (user(), basic, basic, 200, "the login is wrong"),
        (user(), basic, (401, None), 200, "the login is wrong"),
        (user(), basic, (401, Some("Negotiate")), 200, "the login is wrong"),
        (user(), basic, (403, None), 200, "the login is wrong"),
        // An anonymous token is not a login.
        (None, bearer, bearer, 200, "log in to the registry"),
        (None, bearer, (401, None), 200, "log in to the registry"),
        (None, bearer, (403, None), 200, "a login may help"),
        (None, bearer, bearer, 401, "log in to the registry"),
        (user(), bearer, bearer, 200, "the login is wrong"),
        (user(), bearer, (403, None), 200, "the login is wrong"),
        (user(), bearer, bearer, 401, "the login is wrong"),
        (given(), bearer, bearer, 200, "the login is wrong"),
        // The second challenge requires credentials that are missing.
        (None, bearer, basic, 200, "log in to the registry"),
    ] {
        let error = failure(login.as_ref(), at_first, then, token);
        let said = error.hint().unwrap_or_default();
        assert!(said.starts_with(hint), "{login:?} {at_first:?} {then:?} {token}: {error}: {said}");
    }
}

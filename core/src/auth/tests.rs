use http::StatusCode;
use http::header::WWW_AUTHENTICATE;

use crate::auth::*;
use crate::error::Responder;
use crate::error::fault::FaultKind;

/// An [`Auth`] under test, with its ids.
struct Flow {
    auth: Auth,
    ids: Ids,
}

impl Flow {
    fn new(max: usize) -> Self {
        let mut config = Config::default();
        config.limits.tokens = max;
        Self { auth: Auth::new(&config), ids: Ids::new() }
    }

    /// Authorizes a new request to the n-th repository.
    fn request(&mut self, n: usize) -> (TaskId, Authorization) {
        let request = self.ids.task();
        (request, self.authorize(request, n))
    }

    fn authorize(&mut self, request: TaskId, n: usize) -> Authorization {
        let target = target(n);
        self.auth.authorize(request, &target, None, &target.origin, &mut self.ids, Time::ZERO)
    }

    /// Sends a request to the n-th repository and answers it with 401, among `in_use` targets.
    fn challenge(&mut self, n: usize, challenge: &'static str, in_use: usize) -> TaskId {
        let (request, _) = self.request(n);
        let outcome = self.refuse(request, n, challenge, in_use);
        assert!(outcome.is_ok(), "{outcome:?}");
        request
    }

    fn refuse(
        &mut self,
        request: TaskId,
        n: usize,
        challenge: &'static str,
        in_use: usize,
    ) -> Result<(), Cause> {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        let refusal = Refusal {
            status: StatusCode::UNAUTHORIZED,
            by: Responder::Registry,
            errors: Vec::new(),
            retry_after: None,
            challenged: false,
            with_login: false,
        };
        let from = Uri::from_static("https://registry.example/v2/");
        self.auth.challenged(request, &target(n), &from, refusal, &headers, in_use)
    }

    /// Makes the session ask the driver for the n-th repository's login.
    fn ask(&mut self, n: usize) -> QueryId {
        let (request, authorization) = self.request(n);
        assert!(matches!(authorization, Authorization::Wait), "{authorization:?}");
        self.auth.release(request);
        self.auth.next_question().expect("a question").0
    }

    fn log_in(&mut self, n: usize) {
        let query = self.ask(n);
        self.auth.answered(query, Ok(login()));
    }

    fn is_known(&mut self, n: usize) -> bool {
        let (_, authorization) = self.request(n);
        !matches!(authorization, Authorization::Send(None))
    }
}

const BASIC: &str = "Basic realm=x";
const BEARER: &str = r#"Bearer realm="https://auth.example/",service="s""#;

fn target(n: usize) -> Target {
    let repository = format!("team/app-{n}").parse().unwrap();
    Target::to_repository(&"registry.example".parse().unwrap(), &repository, false)
}

fn login() -> Option<Credentials> {
    Credentials::login("user", "password").ok()
}

fn token(text: &str) -> TokenAnswer {
    TokenAnswer::parse(format!(r#"{{"token":"{text}"}}"#).as_bytes()).unwrap()
}

/// Returns the requests that are resumed.
fn resumed<E: std::fmt::Debug>(outcomes: Vec<(TaskId, Result<(), E>)>) -> Vec<TaskId> {
    outcomes.into_iter().map(|(request, outcome)| outcome.map(|()| request).unwrap()).collect()
}

#[test]
fn the_least_recently_used_space_is_evicted() {
    let mut flow = Flow::new(3);
    for n in 0..3 {
        flow.challenge(n, BASIC, 1);
        flow.log_in(n);
    }
    assert!(flow.is_known(0), "request 0 uses its space again");
    flow.challenge(3, BASIC, 1);
    assert_eq!([0, 1, 2, 3].map(|n| flow.is_known(n)), [true, false, true, true]);
    // A known repository evicts nothing.
    flow.challenge(0, BASIC, 1);
    assert_eq!([0, 2, 3].map(|n| flow.is_known(n)), [true; 3]);
}

#[test]
fn every_live_operation_has_room_for_its_space() {
    let mut flow = Flow::new(2);
    for n in 0..100 {
        flow.challenge(n, BASIC, 10);
        flow.log_in(n);
    }
    assert_eq!(flow.auth.logins.spaces.len(), 10);
    flow.challenge(100, BASIC, 1);
    assert_eq!(flow.auth.logins.spaces.len(), 2);
}

#[test]
fn a_space_with_an_open_question_is_not_evicted() {
    let mut flow = Flow::new(1);
    let queries = [0, 1, 2].map(|n| {
        flow.challenge(n, BASIC, 1);
        flow.ask(n)
    });
    flow.auth.logins.forget(&ProtectionSpace::of(&target(0)));
    assert_eq!(flow.auth.logins.spaces.len(), 3, "the driver will answer each question");
    flow.auth.answered(queries[0], Err(Fault::new(FaultKind::Credentials, "no file")));
    assert_eq!(flow.auth.logins.spaces.len(), 2);
}

#[test]
fn an_answer_to_an_unknown_question_is_ignored() {
    let mut flow = Flow::new(1);
    let request = flow.challenge(0, BASIC, 1);
    let query = flow.ask(0);
    assert!(matches!(flow.authorize(request, 0), Authorization::Wait));
    assert_eq!(resumed(flow.auth.answered(flow.ids.query(), Ok(login()))), []);
    assert!(matches!(flow.authorize(request, 0), Authorization::Wait));
    assert!(!flow.auth.has_question(), "the driver was asked twice");
    assert_eq!(resumed(flow.auth.answered(query, Ok(login()))), [request]);
    assert!(matches!(flow.authorize(request, 0), Authorization::Send(Some(_))));
}

#[test]
fn a_question_is_asked_again_until_it_is_answered() {
    let mut flow = Flow::new(1);
    flow.challenge(0, BASIC, 1);
    let query = flow.ask(0);
    flow.auth.ask_again();
    assert_eq!(flow.auth.next_question().map(|(again, _)| again), Some(query));
    flow.auth.ask_again();
    flow.auth.answered(query, Ok(login()));
    assert!(!flow.auth.has_question() && flow.auth.next_question().is_none());
}

#[test]
fn a_refusal_is_reported_until_a_question_is_answered() {
    let mut flow = Flow::new(1);
    let request = flow.challenge(0, BASIC, 1);
    flow.log_in(0);
    assert!(matches!(flow.authorize(request, 0), Authorization::Send(Some(_))));
    flow.refuse(request, 0, BASIC, 1).unwrap_err();
    for (answer, is_refused) in
        [(Err(Fault::new(FaultKind::Credentials, "a timeout")), true), (Ok(login()), true)]
    {
        flow.challenge(0, BASIC, 1);
        let (request, _) = flow.request(0);
        let (query, question) = flow.auth.next_question().unwrap();
        assert_eq!(question.is_refused, is_refused);
        flow.auth.answered(query, answer);
        flow.auth.release(request);
    }
    flow.auth.logins.forget(&ProtectionSpace::of(&target(0)));
    flow.challenge(0, BASIC, 1);
    flow.request(0);
    assert!(!flow.auth.next_question().unwrap().1.is_refused);
}

#[test]
fn the_refusal_of_a_replaced_login_says_nothing_about_the_next() {
    let mut flow = Flow::new(1);
    let slow = flow.challenge(0, BASIC, 1);
    flow.log_in(0);
    let (quick, _) = flow.request(0);
    assert!(matches!(flow.authorize(slow, 0), Authorization::Send(Some(_))));
    assert_eq!(flow.refuse(quick, 0, BASIC, 1), Ok(()));
    flow.log_in(0);
    // The response to the login before.
    flow.refuse(slow, 0, BASIC, 1).unwrap_err();
    flow.challenge(0, BASIC, 1);
    flow.request(0);
    assert!(!flow.auth.next_question().unwrap().1.is_refused);
}

#[test]
fn one_token_serves_all_waiting_requests_in_order_of_arrival() {
    let mut flow = Flow::new(1);
    let first = flow.challenge(0, BEARER, 1);
    let (second, third) = (flow.ids.task(), flow.ids.task());
    flow.log_in(0);
    let Authorization::Fetch(fetch, _) = flow.authorize(third, 0) else { panic!("no token request") };
    for request in [first, second] {
        assert!(matches!(flow.authorize(request, 0), Authorization::Wait));
    }
    assert_eq!(flow.auth.waiting_for(fetch).collect::<Vec<_>>(), [third, first, second]);
    let answer = token("t1");
    assert_eq!(resumed(flow.auth.fetched(fetch, Ok(&answer), Time::ZERO, 1)), [third, first, second]);
    for request in [first, second, third] {
        let Authorization::Send(Some(header)) = flow.authorize(request, 0) else { panic!("no token") };
        assert_eq!(header, "Bearer t1");
        assert!(header.is_sensitive());
    }
}

#[test]
fn a_failed_token_request_fails_all_waiting_requests_and_keeps_no_state() {
    let mut flow = Flow::new(1);
    let request = flow.challenge(0, BEARER, 1);
    flow.log_in(0);
    let Authorization::Fetch(fetch, _) = flow.authorize(request, 0) else { panic!("no token request") };
    let error = Error::new(Fault::new(FaultKind::Connect, "refused"));
    let failed = flow.auth.fetched(fetch, Err(&error), Time::ZERO, 1);
    assert!(matches!(failed[..], [(id, Err(_))] if id == request), "{failed:?}");
    assert!(!flow.is_known(0), "the next request must start without credentials");
}

#[test]
fn a_token_request_is_cancelled_with_its_last_waiting_request() {
    let mut flow = Flow::new(1);
    let first = flow.challenge(0, BEARER, 1);
    flow.log_in(0);
    let Authorization::Fetch(fetch, _) = flow.authorize(first, 0) else { panic!("no token request") };
    let (second, _) = flow.request(0);
    assert_eq!(flow.auth.release(first), None, "another request waits for it");
    assert_eq!(flow.auth.release(second), Some(fetch));
    // The token arrives too late, and the next request does not wait for it.
    assert_eq!(resumed(flow.auth.fetched(fetch, Ok(&token("late")), Time::ZERO, 1)), []);
    assert!(matches!(flow.request(0).1, Authorization::Fetch(..)));
}

#[test]
fn a_rejected_cached_token_is_refetched_and_a_rejected_fresh_one_is_final() {
    let mut flow = Flow::new(1);
    let first = flow.challenge(0, BEARER, 1);
    flow.log_in(0);
    let Authorization::Fetch(fetch, _) = flow.authorize(first, 0) else { panic!("no token request") };
    flow.auth.fetched(fetch, Ok(&token("t1")), Time::ZERO, 1);
    // This request arrives when the token is cached.
    let (request, authorization) = flow.request(0);
    assert!(matches!(authorization, Authorization::Send(Some(_))), "{authorization:?}");
    assert_eq!(flow.refuse(request, 0, BEARER, 1), Ok(()));
    let Authorization::Fetch(fetch, _) = flow.authorize(request, 0) else {
        panic!("the rejected token was kept")
    };
    flow.auth.fetched(fetch, Ok(&token("t2")), Time::ZERO, 1);
    assert!(matches!(flow.authorize(request, 0), Authorization::Send(Some(_))));
    let Err(Cause::Answered(refusal)) = flow.refuse(request, 0, BEARER, 1) else {
        panic!("the rejection was not final")
    };
    assert!(refusal.with_login);
}

#[test]
fn no_credential_is_sent_to_another_origin() {
    let mut flow = Flow::new(1);
    let request = flow.challenge(0, BASIC, 1);
    flow.log_in(0);
    let elsewhere = Origin::of(&"https://cdn.example/".parse().unwrap()).unwrap();
    let authorization = flow.auth.authorize(request, &target(0), None, &elsewhere, &mut flow.ids, Time::ZERO);
    assert!(matches!(authorization, Authorization::Send(None)), "{authorization:?}");
    assert!(matches!(flow.authorize(request, 0), Authorization::Send(Some(_))));
}

#[test]
fn the_last_401_is_final_without_a_login() {
    let mut flow = Flow::new(1);
    let (refused, waiting) = (flow.challenge(0, BASIC, 1), flow.ids.task());
    let query = flow.ask(0);
    for request in [waiting, refused] {
        assert!(matches!(flow.authorize(request, 0), Authorization::Wait));
    }
    let outcomes = flow.auth.answered(query, Ok(None));
    assert!(
        matches!(&outcomes[..], [(sent, Ok(())), (failed, Err(Cause::Answered(refusal)))]
            if *sent == waiting && *failed == refused && !refusal.with_login),
        "{outcomes:?}"
    );
    assert!(!flow.is_known(0));
}

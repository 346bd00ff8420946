use crate::auth::*;

const BASIC: &str = "Basic realm=x";

fn site(n: usize) -> Site {
    let uri = "https://registry.example/".parse().unwrap();
    (Origin::of(&uri).unwrap(), format!("team/app-{n}").parse().unwrap())
}

/// A site's registry answers 401, with no login shown, among so many operations.
fn challenge(auth: &mut Auth, n: usize, alive: usize) {
    let mut headers = HeaderMap::new();
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(BASIC));
    let verdict = auth.refused(&site(n), None, None, &headers, alive);
    assert!(matches!(verdict, Ok(Verdict::Again)), "{verdict:?}");
}

fn log_in(auth: &mut Auth, n: usize) {
    let query = QueryId(n as u64);
    auth.asked(&site(n), query);
    auth.told(&site(n), query, Credentials::login("user", "password").ok());
}

fn is_known(auth: &mut Auth, n: usize) -> bool {
    let present = auth.present(&site(n), &Scope::default(), Time::ZERO);
    !matches!(present, Present::Nothing)
}

#[test]
fn what_was_not_of_use_for_the_longest_time_makes_room() {
    let mut auth = Auth::new(3, PlainHttp::Never);
    for n in 0..3 {
        challenge(&mut auth, n, 1);
        log_in(&mut auth, n);
    }
    assert!(is_known(&mut auth, 0), "it is of use again");
    challenge(&mut auth, 3, 1);
    assert_eq!([0, 1, 2, 3].map(|n| is_known(&mut auth, n)), [true, false, true, true]);
    // What is there already needs no room.
    challenge(&mut auth, 0, 1);
    assert_eq!([0, 2, 3].map(|n| is_known(&mut auth, n)), [true; 3]);
}

#[test]
fn there_is_room_for_as_many_as_are_alive_and_no_more() {
    let mut auth = Auth::new(2, PlainHttp::Never);
    for n in 0..100 {
        challenge(&mut auth, n, 10);
        log_in(&mut auth, n);
    }
    assert_eq!(auth.sites.len(), 10);
    challenge(&mut auth, 100, 1);
    assert_eq!(auth.sites.len(), 2);
}

#[test]
fn whoever_waits_for_an_answer_keeps_the_place() {
    let mut auth = Auth::new(1, PlainHttp::Never);
    for n in 0..3 {
        challenge(&mut auth, n, 1);
        auth.asked(&site(n), QueryId(n as u64));
    }
    auth.forget(&site(0));
    assert_eq!(auth.sites.len(), 3, "the driver will answer for each of them");
    auth.lost(&site(0));
    assert_eq!(auth.sites.len(), 2);
}

#[test]
fn an_answer_to_another_question_is_no_answer() {
    let mut auth = Auth::new(1, PlainHttp::Never);
    challenge(&mut auth, 0, 1);
    auth.asked(&site(0), QueryId(7));
    auth.told(&site(0), QueryId(6), Credentials::login("user", "password").ok());
    assert!(matches!(auth.present(&site(0), &Scope::default(), Time::ZERO), Present::Asked));
}

#[test]
fn a_long_name_of_a_service_is_left_out() {
    for (len, kept) in [(MAX_SERVICE_LEN, MAX_SERVICE_LEN), (MAX_SERVICE_LEN + 1, 0)] {
        let text = format!(r#"Bearer realm="https://auth.example/",service="{}""#, "s".repeat(len));
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, text.parse().unwrap());
        let wants = chosen(&site(0).0, &headers, PlainHttp::Never).unwrap();
        let Some(Wants::Bearer { service, .. }) = wants else { panic!("{wants:?}") };
        assert_eq!(service.len(), kept);
    }
}

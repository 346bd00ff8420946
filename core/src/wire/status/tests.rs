use std::ops::RangeInclusive;
use std::time::Duration;

use http::HeaderValue;

use super::*;
use crate::error::Refusal;

type Rows = &'static [(&'static [RangeInclusive<u16>], Class)];

/// The meaning of every status, unless a kind's own rows override it.
const COMMON: Rows = &[
    (&[100..=299, 600..=999], Class::Meaningless),
    (&[307..=308], Class::Redirect),
    (&[401..=401], Class::Challenge),
    (&[408..=408, 425..=425, 429..=429, 499..=500, 502..=504, 506..=510, 512..=599], Class::Trouble),
    (
        &[300..=306, 309..=400, 402..=407, 409..=424, 426..=428, 430..=498, 501..=501, 505..=505, 511..=511],
        Class::Final,
    ),
];

const CONTENT: (&[RangeInclusive<u16>], Class) = (&[200..=200, 203..=203], Class::Content);
const READ_REDIRECT: (&[RangeInclusive<u16>], Class) = (&[301..=303], Class::Redirect);
const STORED: &[RangeInclusive<u16>] = &[200..=202, 204..=204];

/// All kinds in order, each with its method, whether it may be repeated, and its specific statuses.
fn table() -> Vec<(RequestKind, Method, bool, Rows)> {
    use RequestKind as Kind;
    const READ: Rows = &[CONTENT, READ_REDIRECT];
    const READ_IN_PARTS: Rows =
        &[CONTENT, READ_REDIRECT, (&[206..=206], Class::Part), (&[416..=416], Class::NothingLeft)];
    const BEGIN: Rows = &[(&[201..=201], Class::Done), (&[200..=200, 202..=202, 204..=204], Class::Session)];
    vec![
        (Kind::CheckVersion, Method::GET, true, READ),
        (Kind::GetManifest, Method::GET, true, READ_IN_PARTS),
        (Kind::HeadManifest, Method::HEAD, true, READ),
        (Kind::GetBlob, Method::GET, true, READ_IN_PARTS),
        (Kind::HeadBlob, Method::HEAD, true, READ),
        (Kind::GetElsewhere, Method::GET, true, READ_IN_PARTS),
        (Kind::GetToken, Method::GET, true, READ),
        (Kind::PostToken, Method::POST, false, &[CONTENT]),
        (Kind::ListTags, Method::GET, true, READ),
        (
            Kind::ListReferrers,
            Method::GET,
            true,
            &[CONTENT, READ_REDIRECT, (&[400..=400, 404..=406], Class::Unsupported)],
        ),
        (Kind::ListRepositories, Method::GET, true, READ),
        (Kind::BeginUpload, Method::POST, true, BEGIN),
        (
            Kind::Mount,
            Method::POST,
            true,
            &[
                (&[201..=201], Class::Done),
                (&[200..=200, 202..=202, 204..=204], Class::Session),
                (
                    &[300..=306, 309..=400, 402..=407, 409..=424, 426..=428, 430..=498, 500..=599],
                    Class::NotMounted,
                ),
            ],
        ),
        (
            Kind::SendChunk,
            Method::PATCH,
            false,
            &[
                (STORED, Class::Accepted),
                (&[404..=404], Class::Gone),
                (&[413..=413], Class::TooLarge),
                (&[416..=416], Class::WrongPosition),
            ],
        ),
        (
            Kind::PutWhole,
            Method::PUT,
            false,
            &[
                (STORED, Class::Done),
                (&[400..=400, 404..=405, 411..=411, 413..=413, 415..=416, 501..=501], Class::NotWhole),
            ],
        ),
        (
            Kind::CloseUpload,
            Method::PUT,
            false,
            &[
                (STORED, Class::Done),
                (&[404..=404], Class::Gone),
                (&[413..=413], Class::TooLarge),
                (&[416..=416], Class::WrongPosition),
            ],
        ),
        (
            Kind::UploadStatus,
            Method::GET,
            true,
            &[(&[200..=200, 204..=204], Class::Progress), (&[404..=404], Class::Gone), READ_REDIRECT],
        ),
        (Kind::CancelUpload, Method::DELETE, true, &[(&[200..=299, 404..=404], Class::Done)]),
        (Kind::PutManifest, Method::PUT, true, &[(STORED, Class::Done)]),
        (
            Kind::Delete,
            Method::DELETE,
            true,
            &[(&[200..=200, 202..=202, 204..=204], Class::Done), (&[404..=404], Class::Gone)],
        ),
    ]
}

fn find(rows: Rows, code: u16) -> Option<Class> {
    let mut fitting = rows.iter().filter(|(codes, _)| codes.iter().any(|codes| codes.contains(&code)));
    let found = fitting.next().map(|(_, class)| *class);
    assert!(fitting.next().is_none(), "{code} is in two rows");
    found
}

#[test]
fn every_status_has_one_meaning_for_each_kind_of_request() {
    let challenge = HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"))]);
    for (kind, _, _, own) in table() {
        for code in 100..=999 {
            let expected = find(own, code).or_else(|| find(COMMON, code));
            let status = StatusCode::from_u16(code).unwrap();
            assert_eq!(Some(kind.classify(status, &challenge)), expected, "{kind:?} {code}");
        }
    }
}

#[test]
fn without_a_challenge_a_registry_refuses_to_list_referrers_to_anyone() {
    for (kind, ..) in table() {
        let without = kind.classify(StatusCode::UNAUTHORIZED, &HeaderMap::new());
        let expected = if kind == RequestKind::ListReferrers { Class::Unsupported } else { Class::Challenge };
        assert_eq!(without, expected, "{kind:?}");
    }
}

#[test]
fn every_kind_of_request_has_a_method_and_may_be_repeated_or_not() {
    let table = table();
    assert_eq!(table.len(), RequestKind::Delete as usize + 1);
    for (index, (kind, method, may_repeat, _)) in table.into_iter().enumerate() {
        assert_eq!(kind as usize, index, "{kind:?}");
        assert_eq!(kind.method(), method, "{kind:?}");
        assert_eq!(kind.may_repeat(), may_repeat, "{kind:?}");
    }
}

#[test]
fn two_statuses_delay_all_requests_to_a_server() {
    let slow = (300..600).filter(|code| slows_all(StatusCode::from_u16(*code).unwrap()));
    assert_eq!(slow.collect::<Vec<_>>(), [429, 503]);
}

#[test]
fn get_decides_after_a_failed_head() {
    use Responder::{Elsewhere, Registry};
    for (status, by, challenged, wait, decides) in [
        (400, Registry, false, None, true),
        (401, Registry, false, None, true),
        (401, Registry, true, None, false),
        (401, Elsewhere, true, None, true),
        (403, Registry, true, None, true),
        (404, Registry, false, None, true),
        (405, Registry, false, None, true),
        (429, Registry, false, None, false),
        (500, Registry, false, None, true),
        (503, Registry, false, None, true),
        (503, Registry, false, Some(60), false),
        (404, Registry, false, Some(0), true),
    ] {
        let refusal = Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            by,
            errors: Vec::new(),
            retry_after: wait.map(Duration::from_secs),
            challenged,
            with_login: false,
        };
        assert_eq!(get_decides(&refusal.clone().into()), decides, "{refusal:?}");
    }
}

//! The body of the fuzz target `error_body`.

use http::{HeaderValue, Response, StatusCode};
use oci_proto::{Answer, Cause, Config, Event, Output, Question, Rest, Session, Time};

/// The error for any refusal by a registry is short, on one line, without control characters, and names the
/// status; a hint is one of ours.
///
/// The input is a line with a status, a line with a Retry-After or nothing, and the body.
pub fn error_body(data: &[u8]) {
    let mut parts = data.splitn(3, |b| *b == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let Ok(status) = StatusCode::from_bytes(part()) else { return };
    let (retry_after, body) = (HeaderValue::from_bytes(part()), part());
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = status;
    if let Ok(value) = retry_after {
        head.headers.insert("retry-after", value);
    }

    let mut config = Config::default();
    config.limits.max_attempts = 1;
    let mut session = Session::new(config, 1);
    session.manifest(&"registry.example/a/b:1".parse().expect("a reference"), None);
    loop {
        match session.poll_output(Time::ZERO) {
            Output::Send(exchange) => {
                let mut receiving = exchange.split().2.head(status, head.headers.clone());
                if receiving.rest() == Rest::Wanted {
                    _ = receiving.push(body);
                }
                session.complete(Time::ZERO, receiving.finish());
            }
            Output::Event(_, Event::Failed(error)) => {
                let said = error.to_string();
                assert!(!said.contains(char::is_control), "{said:?}");
                assert!(said.chars().count() < 16 * 700, "{} bytes of error", said.len());
                if let Cause::Answered(refusal) = error.cause() {
                    assert_eq!(error.status(), Some(status));
                    assert!(said.contains(status.as_str()), "{said}");
                    assert!(refusal.errors.len() <= 16, "{} entries", refusal.errors.len());
                    for entry in &refusal.errors {
                        assert!(
                            !(entry.code.is_empty() && entry.message.is_empty()),
                            "an entry without code and message"
                        );
                    }
                }
                let hint = error.hint().unwrap_or_default();
                assert!(!hint.contains(char::is_control) && hint.len() < 200, "{hint:?}");
                return;
            }
            // For a status with a meaning other than refusal.
            Output::Event(_, Event::Done) => return,
            Output::Ask(query, Question::Credentials(_)) => {
                session.answer(Time::ZERO, query, Answer::Credentials(None));
            }
            Output::Ask(query, _) => session.answer(Time::ZERO, query, Answer::Stored),
            Output::Event(..) => {}
            other => panic!("a refusal must end the request: {other:?}"),
        }
    }
}

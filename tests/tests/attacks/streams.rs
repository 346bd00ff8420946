//! Endless bodies, and very slow ones.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use oci_proto::{Config, Event, Limits, Output, Receiving, Session, Time};
use oci_proto_tests::transcript::{Start, describe};

use super::drive::{Pieces, drive, on_a_small_stack};
use super::measure::turn;

const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

#[test]
fn a_manifest_without_end() {
    let turn = turn();
    let most = usize::try_from(Limits::default().manifest_bytes).expect("the size fits in memory");
    for piece in [1, 16 << 10] {
        let bytes = Bytes::from(vec![b' '; piece]);
        let seen = turn.within(20, &format!("a manifest without end, by {piece} bytes"), || {
            on_a_small_stack(|| {
                let mut session = Session::new(Config::default(), 1);
                let start = Start::parse("manifest registry.example/a/b:1").expect("an operation");
                let op = start.begin(&mut session);
                drive(&mut session, op, |_| {
                    let bytes = bytes.clone();
                    Response::new(Box::new(std::iter::repeat_with(move || bytes.clone())) as Pieces)
                })
            })
        });
        assert!(seen.end.ends_with("the manifest exceeds the limit of 8388608 bytes"), "{seen:?}");
        assert!(seen.requests == 1 && seen.steps <= 6, "{seen:?}");
        assert!(seen.taken <= most + piece, "{} bytes", seen.taken);
    }
}

/// The core has no clock: the operation's deadline ends a body that arrives byte by byte.
#[test]
fn a_body_of_one_byte_a_second() {
    let turn = turn();
    for operation in
        ["manifest registry.example/a/b:1".to_owned(), format!("blob registry.example/a/b@{DIGEST}")]
    {
        let name = operation.split(' ').next().expect("a word");
        let (said, taken) =
            turn.within(1, &format!("a {name} of one byte a second, with a deadline"), || {
                let mut session = Session::new(Config::default(), 1);
                let op = Start::parse(&operation).expect("an operation").begin(&mut session);
                session.set_deadline(op, Time::from_epoch(Duration::from_secs(60)));
                let mut receiving: Option<Receiving> = None;
                let (mut now, mut taken, mut said) = (Time::ZERO, 0, String::new());
                for _ in 0..1000 {
                    match session.poll_output(now) {
                        Output::Send(exchange) => {
                            receiving = Some(exchange.split().2.head(StatusCode::OK, HeaderMap::new()));
                        }
                        Output::Wait(_) => {
                            let Some(receiving) = &mut receiving else { break };
                            receiving.push(b" ").expect("the body is wanted");
                            (now, taken) = (now + Duration::from_secs(1), taken + 1);
                        }
                        // The driver is told to stop reading.
                        Output::Abort(_) => receiving = None,
                        Output::Event(_, event) => {
                            said = describe(&event);
                            assert!(matches!(event, Event::Failed(_)), "{said}");
                        }
                        other @ Output::Ask(..) => panic!("{other:?}"),
                    }
                }
                (said, taken)
            });
        assert!(said.contains("deadline"), "{said}");
        assert_eq!(taken, 60);
    }
}

//! The addresses that exchanges may be connected to.

use oci_proto::{Config, FaultKind, Output, PlainHttp, Reach, Session, Time};

#[test]
fn plain_http_to_this_machine_is_not_sent_to_another_address() {
    for (reference, plain_http, reach) in [
        ("localhost:5000/a", PlainHttp::Loopback, Reach::ThisMachine),
        ("registry.localhost:5000/a", PlainHttp::Always, Reach::ThisMachine),
        ("localhost:5000/a", PlainHttp::Never, Reach::Anywhere),
        ("registry.test/a", PlainHttp::Always, Reach::Anywhere),
    ] {
        let mut config = Config::default();
        config.plain_http = plain_http;
        let mut session = Session::new(config, 0);
        session.resolve(&reference.parse().unwrap(), None);
        let Output::Send(exchange) = session.poll_output(Time::ZERO) else {
            panic!("{reference}: no request")
        };
        assert_eq!(exchange.reach(), reach, "{reference}");
        let (_, _, awaiting) = exchange.split();
        awaiting.connected("127.0.0.1".parse().unwrap()).unwrap();
        let elsewhere = awaiting.connected("192.0.2.1".parse().unwrap());
        let refused = (reach == Reach::ThisMachine).then_some(FaultKind::Unsupported);
        assert_eq!(elsewhere.err().map(|fault| fault.kind()), refused, "{reference}");
    }
}

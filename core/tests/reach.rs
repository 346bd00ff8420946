//! The addresses that exchanges may be connected to.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use oci_proto::{
    Algorithm, Answer, Config, Credentials, Descriptor, Digest, FaultKind, Held, Output, Payload, PlainHttp,
    PullOptions, Question, Reach, Reference, Sending, Session, Time,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

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
        let (_, _, mut awaiting) = exchange.split();
        awaiting.connected("127.0.0.1".parse().unwrap()).unwrap();
        let elsewhere = awaiting.connected("192.0.2.1".parse().unwrap());
        let refused = (reach == Reach::ThisMachine).then_some(FaultKind::OutOfReach);
        assert_eq!(elsewhere.err().map(|fault| fault.kind()), refused, "{reference}");
    }
}

/// Hosts of public servers, and one that may resolve to any address.
const PUBLIC: [&str; 4] = ["cdn.example", "auth.example:8443", "8.8.8.8", "[2001:4860::8888]:444"];
/// Hosts of other servers, in every form that some client or resolver accepts.
const PRIVATE: [&str; 20] = [
    "localhost",
    "LocalHost.:443",
    "registry.localhost:5000",
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.1",
    "10.0.0.1:8443",
    "169.254.169.254",
    "172.16.0.1.",
    "192.168.1.1",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "[::]",
    "[::1]:5000",
    "[::ffff:127.0.0.1]",
    "[64:ff9b::a00:1]",
    "[fd00::1]",
    "[fe80::1]",
];
const REGISTRY: &str = "registry.example";
const CONTENT: &[u8] = b"{}";

/// A response of any server, which leads elsewhere in every way at once.
#[derive(Clone, Copy, Debug)]
struct Reply {
    status: u16,
    host: &'static str,
    is_plain: bool,
}

fn reply() -> impl Strategy<Value = Reply> {
    let host = prop_oneof![select(&PUBLIC[..]), select(&PRIVATE[..]), Just(REGISTRY)];
    let status = select(
        &[200, 200, 200, 200, 201, 202, 204, 206, 301, 307, 307, 308, 401, 401, 404, 405, 413, 503][..],
    );
    (status, host, any::<bool>()).prop_map(|(status, host, is_plain)| Reply { status, host, is_plain })
}

impl Reply {
    /// Its headers, and its body for a request to this path, which lists another entry at each step.
    fn parts(self, path: &str, step: u32) -> (HeaderMap, String) {
        let scheme = if self.is_plain { "http" } else { "https" };
        let url = format!("{scheme}://{}{path}?x", self.host);
        let headers = [
            ("location", url.clone()),
            ("link", format!("<{}>; rel=\"next\"", if self.is_plain { "?y" } else { &url })),
            ("www-authenticate", format!("Bearer realm=\"{url}\"")),
            ("range", "0-0".to_owned()),
        ];
        let value = |value: String| HeaderValue::try_from(value).unwrap();
        let headers = headers.into_iter().map(|(name, text)| (HeaderName::from_static(name), value(text)));
        let digest = Digest::of(Algorithm::Sha256, CONTENT);
        let config = format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":2}}"#);
        let layer = format!(
            r#"{{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar","digest":"{}","size":2,"urls":["{url}"]}}"#,
            Digest::of(Algorithm::Sha256, b"[]")
        );
        let image = "application/vnd.oci.image.manifest.v1+json";
        let body = if path.contains("/blobs/") {
            "{}".to_owned()
        } else if path.contains("/manifests/") {
            format!(r#"{{"schemaVersion":2,"mediaType":"{image}","config":{config},"layers":[{layer}]}}"#)
        } else {
            format!(r#"{{"token":"t","tags":["a{step}"],"schemaVersion":2,"manifests":[]}}"#)
        };
        (headers.collect(), body)
    }
}

fn start(session: &mut Session, operation: u8) {
    let image: Reference = format!("{REGISTRY}/team/app:1").parse().unwrap();
    let digest = Digest::of(Algorithm::Sha256, CONTENT);
    let content = image.at(digest.clone());
    match operation {
        0 => session.manifest(&image, None),
        1 => session.blob(&content, Some(2)),
        2 => session.tags(&image, None),
        3 => session.referrers(&content, None),
        4 => session.upload(&content, &Descriptor::new("a/b".parse().unwrap(), digest, 2), None),
        5 => session.upload_stream(&content, Algorithm::Sha256),
        _ => {
            let mut options = PullOptions::default();
            options.foreign = true;
            session.pull(&image, options)
        }
    };
}

/// Sends all of a payload.
fn send(mut sending: Sending, payload: &Payload) {
    let bytes = match payload {
        Payload::Empty => &[],
        Payload::Bytes(bytes) => &bytes[..],
        Payload::Source(source) => {
            let range = source.read_range();
            let at = |position: u64| usize::try_from(position).unwrap();
            &CONTENT[at(range.start)..at(range.end)]
        }
    };
    sending.push(bytes).and_then(|_| sending.finish()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a public registry and the servers that it leads to answer, and whether or not the driver knows their
    /// addresses, no request is sent to an address that is not public, except at the registry itself.
    #[test]
    fn a_public_registry_leads_to_public_addresses_only(
        operation in 0_u8..7,
        plain_http in select(&[PlainHttp::Never, PlainHttp::Loopback, PlainHttp::Always][..]),
        knows_addresses in any::<bool>(),
        replies in vec(reply(), 1..20),
    ) {
        let mut config = Config::default();
        config.plain_http = plain_http;
        let mut session = Session::new(config, 0);
        start(&mut session, operation);
        let (mut now, mut replies) = (Time::ZERO, replies.iter().cycle());
        for step in 0..300 {
            match session.poll_output(now) {
                Output::Send(exchange) => {
                    let (uri, reach) = (exchange.request().uri().clone(), exchange.reach());
                    let is_own = uri.host() == Some(REGISTRY) && uri.port().is_none();
                    let authority = uri.authority().unwrap().as_str();
                    prop_assert!(!PRIVATE.contains(&authority), "{uri}");
                    prop_assert!(is_own || reach == Reach::Public, "{reach:?}: {uri}");
                    let (request, sending, mut awaiting) = exchange.split();
                    if let Some(sending) = sending {
                        send(sending, request.body());
                    }
                    if knows_addresses {
                        awaiting.connected("198.51.100.1".parse().unwrap()).unwrap();
                    }
                    let reply = replies.next().unwrap();
                    let (headers, body) = reply.parts(uri.path(), step);
                    let mut receiving = awaiting.head(StatusCode::from_u16(reply.status).unwrap(), headers);
                    let _ = receiving.push(body.as_bytes());
                    session.complete(now, receiving.finish());
                }
                Output::Ask(query, question) => {
                    let answer = match question {
                        Question::Credentials(_) => Answer::Credentials(Credentials::login("user", "pass").ok()),
                        Question::Held { .. } => Answer::Held(Held::Nothing),
                        Question::Read { .. } => Answer::Read { bytes: CONTENT.into(), is_last: true },
                        _ => Answer::Stored,
                    };
                    session.answer(now, query, answer);
                }
                Output::Wait(Some(until)) => now = until,
                Output::Wait(None) => break,
                Output::Event(..) | Output::Abort(_) => {}
            }
        }
    }
}

//! Arbitrary responses, with bodies in arbitrary chunks.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use oci_proto::{Algorithm, Config, Digest, Fault, FaultKind};
use oci_proto_tests::simulation::{Answers, Asked, Behaviour, Choices, Simulation};
use oci_proto_tests::transcript::{Answer, Start};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const IMAGE: &str = r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]}"#;

fn header() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
    let digest = |text: &str| Digest::of(Algorithm::Sha256, text.as_bytes()).to_string();
    let value = prop_oneof![
        select(vec![
            "content-type: application/vnd.oci.image.manifest.v1+json",
            "content-type: text/html",
            "content-type: application/json",
            "content-type:",
            "content-length: 5",
            "content-length: 171",
            "content-length: 0",
            "content-length: 99999999999",
            "content-encoding: gzip",
            "docker-content-digest:",
            "docker-content-digest: md5:00",
            "warning: 299 - \"x\""
        ])
        .prop_map(str::to_owned),
        Just(format!("docker-content-digest: {}", digest(IMAGE))),
        Just(format!("docker-content-digest: {}", Digest::of(Algorithm::Sha512, IMAGE.as_bytes()))),
        Just(format!("content-length: {}", IMAGE.len())),
    ];
    value.prop_map(|line| {
        let (name, value) = line.split_once(':').expect("a header");
        (name.parse().expect("a name"), value.trim().parse().expect("a value"))
    })
}

fn answer() -> impl Strategy<Value = Answer> {
    let body = prop_oneof![
        4 => Just(IMAGE.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..300),
        1 => (0..IMAGE.len()).prop_map(|end| IMAGE.as_bytes()[..end].to_vec()),
        1 => select(vec![r#"{"errors":[{"code":"DENIED","message":"no"}]}"#, "<html>", "hello", ""])
            .prop_map(|text| text.as_bytes().to_vec()),
        1 => (0..200_usize).prop_map(|more| [IMAGE.as_bytes(), &vec![b' '; more]].concat()),
    ];
    let status = prop_oneof![3 => Just(200_u16), 1 => select(vec![203, 204, 206, 307, 400, 401, 404, 405, 416, 429, 503])];
    let cut = proptest::option::weighted(0.2, 0..200_usize);
    (status, vec(header(), 0..4), body, cut).prop_map(|(status, headers, body, cut)| {
        let headers: HeaderMap = headers.into_iter().collect();
        let status = status.try_into().expect("a status");
        let mut answer = Answer::new(status, headers, Bytes::from(body));
        answer.cut = cut.map(|at| (at, Fault::new(FaultKind::Reset, "cut")));
        answer
    })
}

/// Gives the responses in order, and then 404s.
struct InOrder<'a>(std::slice::Iter<'a, Answer>);

impl Answers for InOrder<'_> {
    fn answer(&mut self, _: &Asked<'_>, _: &mut Choices<'_>) -> Result<Answer, Fault> {
        let nothing = || Answer::new(http::StatusCode::NOT_FOUND, HeaderMap::new(), Bytes::new());
        Ok(self.0.next().cloned().unwrap_or_else(nothing))
    }
}

/// The operation's events, its sink's bytes, and the requests.
fn converse(operation: &str, answers: &[Answer], choices: &[u8]) -> (Vec<String>, Vec<u8>, Vec<String>) {
    let mut config = Config::default();
    config.limits.manifest_bytes = 250;
    config.limits.blob_bytes = 250;
    config.limits.error_bytes = 20;
    let answers = InOrder(answers.iter());
    let mut simulation = Simulation::new(config, answers, Behaviour::ORDERLY, Choices::new(choices));
    let op = Start::parse(operation).expect("an operation").begin(&mut simulation.session);
    simulation.watch(op);
    let (mut seen, requests) = simulation.run();
    let watched = seen.remove(&op).expect("the operation that was watched");
    (watched.events.clone(), watched.sink().to_vec(), requests)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_chunks_of_a_body_do_not_matter(
        verb in select(vec!["resolve", "manifest", "walk", "blob", "blob-sized"]), by_digest in any::<bool>(),
        answers in vec(answer(), 1..4), choices in vec(any::<u8>(), 0..200), pace in any::<u8>(),
    ) {
        let digest = Digest::of(Algorithm::Sha256, IMAGE.as_bytes());
        let operation = match verb {
            "blob" => format!("blob registry.example/a/b@{digest}"),
            "blob-sized" => format!("blob registry.example/a/b@{digest} size={}", IMAGE.len()),
            verb if by_digest => format!("{verb} registry.example/a/b@{digest}"),
            verb => format!("{verb} registry.example/a/b:1"),
        };
        let whole = converse(&operation, &answers, &[]);
        prop_assert!(whole.2.len() < 100, "{} requests", whole.2.len());
        prop_assert_eq!(&converse(&operation, &answers, &choices), &whole);
        let even = [pace].repeat(100);
        prop_assert_eq!(&converse(&operation, &answers, &even), &whole);
    }
}

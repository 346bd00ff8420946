//! Credentials and tokens of many repositories at once, in a session with small caches.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use oci_proto::server::Memory;
use oci_proto::{Config, Credentials, CredentialsQuery, Fault};
use oci_proto_tests::simulation::{Answers, Asked, Behaviour, Choices, Registry, Simulation};
use oci_proto_tests::transcript::Answer;

const REPOSITORIES: usize = 40;

/// A registry that requires a token for each repository.
struct Guarded {
    registry: Registry,
    /// The number of requests without a token for each repository, and for each token.
    asked: BTreeMap<String, usize>,
    logins: usize,
}

impl Guarded {
    fn new() -> Self {
        let (memory, root) = Memory::sample();
        let registry = Registry::new(memory, &root);
        let names = (0..REPOSITORIES).map(repository);
        let registry = names.fold(registry, |registry, name| registry.also_in(&name, &root));
        Self { registry, asked: BTreeMap::new(), logins: 0 }
    }
}

fn repository(n: usize) -> String {
    format!("team/app-{n}")
}

impl Answers for &mut Guarded {
    fn answer(&mut self, asked: &Asked<'_>, _: &mut Choices<'_>) -> Result<Answer, Fault> {
        let head = asked.head;
        let is_token = head.uri.host() == Some("auth.example");
        if !is_token && head.headers.get(AUTHORIZATION).is_some_and(|value| value == "Bearer t1") {
            return Ok(self.registry.respond(head));
        }
        *self.asked.entry(head.uri.to_string()).or_default() += 1;
        let (status, challenge, body) = if is_token {
            (200, None, r#"{"token":"t1"}"#)
        } else {
            (401, Some(r#"Bearer realm="https://auth.example/token""#), "")
        };
        let challenge =
            challenge.map(|text| (http::header::WWW_AUTHENTICATE, text.parse().expect("a value")));
        let status = status.try_into().expect("a status");
        Ok(Answer::new(status, challenge.into_iter().collect(), Bytes::from_static(body.as_bytes())))
    }

    fn login(&mut self, _: &CredentialsQuery, _: &mut Choices<'_>) -> Result<Option<Credentials>, Fault> {
        self.logins += 1;
        Ok(Some(Credentials::login("user", "password").expect("the name has no colon")))
    }
}

#[test]
fn concurrent_operations_do_not_evict_each_others_credentials_and_tokens() {
    let mut guarded = Guarded::new();
    let mut config = Config::default();
    // Fewer than there are operations, which override it.
    config.limits.tokens = 1;
    config.limits.in_flight_per_origin = 2;
    let mut simulation = Simulation::new(config, &mut guarded, Behaviour::ORDERLY, Choices::new(&[]));
    for n in 0..REPOSITORIES {
        let reference = format!("registry.example/{}:1", repository(n)).parse().expect("a reference");
        let op = simulation.session.walk(&reference, oci_proto::WalkOptions::default());
        simulation.watch(op);
    }
    let (seen, _) = simulation.run();
    for watched in seen.values() {
        assert_eq!(watched.events.last().map(String::as_str), Some("done"), "{:?}", watched.events);
    }
    assert_eq!(guarded.logins, REPOSITORIES, "credentials are looked up once per repository");
    assert_eq!(guarded.asked.len(), 2 * REPOSITORIES, "{:?}", guarded.asked.keys());
    let twice: Vec<_> = guarded.asked.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "requested twice: {twice:?}");
}

//! The setup of a registry, its token server and its storage.

use std::time::Duration;

use http::Method;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use crate::simulation::choices::Choices;
use crate::simulation::secrets::{Secrets, mark};
use crate::transcript::parse::Answer;

#[derive(Debug)]
pub(super) struct Setup {
    pub(super) wants: Wants,
    pub(super) realm: String,
    /// The server of its blobs, if it is not the registry.
    pub(super) storage: Option<&'static str>,
    /// The response of its token server to POST, if it does not support it.
    pub(super) refuses_post: Option<u16>,
    /// Whether its token server requires credentials.
    pub(super) wants_login: bool,
    /// The lifetime of its tokens in seconds, if declared.
    pub(super) lifetime: Option<u64>,
    pub(super) ignores_ranges: bool,
    /// It mirrors another registry, and fetches content on demand.
    pub(super) lag: Option<Lag>,
    /// Optional headers that its responses lack.
    unsaid: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    Nothing,
    Basic,
    Bearer,
}

/// The response of a mirror while it fetches, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lag {
    pub(super) status: u16,
    pub(super) time: Duration,
}

impl Setup {
    pub(super) fn new(registry: usize, secrets: &Secrets, choices: &mut Choices<'_>) -> Self {
        let plain = secrets.is_plain(registry);
        let own = format!("{}/token", secrets.base(registry));
        let realms = [
            "https://auth.example/token",
            &own,
            "https://auth.example:8443/a/../t",
            "http://127.0.0.1:5100/t",
        ];
        let storages = [None, Some("https://cdn.example"), Some("http://127.0.0.1:5200")];
        let usable = usize::from(!plain);
        let lags = [(0, 0), (502, 300), (503, 2000), (404, 500), (504, 50)];
        let (status, millis) = lags[[0, 1, 0, 2, 0, 3, 0, 4][choices.below(8)]];
        let drawn = usize::from(choices.byte());
        Self {
            lag: (status != 0).then_some(Lag { status, time: Duration::from_millis(millis) }),
            ignores_ranges: drawn % 4 == 3,
            wants_login: drawn / 4 % 2 == 1,
            unsaid: drawn / 8 % 8,
            wants: choices.pick(&[Wants::Bearer, Wants::Nothing, Wants::Bearer, Wants::Basic]),
            realm: format!("{}?{}", realms[choices.below(realms.len() - usable)], mark(registry)),
            storage: storages[choices.below(storages.len() - usable)],
            refuses_post: [None, Some(404), Some(405), Some(401), Some(400)][drawn / 52],
            lifetime: choices.pick(&[None, Some(300), Some(1), Some(60)]),
        }
    }

    /// Uses the token server of another registry.
    pub(super) fn trust(&mut self, other: &Self) {
        self.realm.clone_from(&other.realm);
        (self.wants_login, self.refuses_post) = (other.wants_login, other.refuses_post);
        self.lifetime = other.lifetime;
    }

    /// Whether it does not implement the list of referrers, and has an index under the fallback tag instead.
    pub(super) fn lacks_referrers(&self) -> bool {
        self.unsaid >= 6
    }

    /// Varies a response in ways that are all valid.
    pub(super) fn word(&self, method: &Method, answer: &mut Answer) {
        let headers = &mut answer.headers;
        match self.unsaid {
            1 => _ = headers.remove("docker-content-digest"),
            2 => _ = headers.remove(CONTENT_LENGTH),
            3 if answer.status == 200 => answer.status = http::StatusCode::NON_AUTHORITATIVE_INFORMATION,
            4 if headers.contains_key("docker-content-digest") => _ = headers.remove(CONTENT_TYPE),
            5 if *method == Method::HEAD => answer.status = http::StatusCode::METHOD_NOT_ALLOWED,
            _ => {}
        }
    }
}

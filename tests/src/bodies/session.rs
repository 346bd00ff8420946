//! The body of the fuzz target `session`.

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use oci_proto::server::{Content as _, Memory};
use oci_proto::{Config, Descriptor, Digest, Fault, FaultKind, OpId, Time};

use crate::simulation::answers::{Answers, Asked};
use crate::simulation::behaviour::Behaviour;
use crate::simulation::choices::Choices;
use crate::simulation::registry::Registry;
use crate::simulation::state::Simulation;
use crate::transcript::parse::Answer;
use crate::transcript::start::{Operation, Start};

/// A session keeps its contract whatever the registry's responses and the driver's actions: see
/// [`simulation`](crate::simulation). In addition, the number of requests is bounded by the input, and a
/// finished operation delivered what was requested.
///
/// The input's bytes decide everything: limits, operations, responses, faults, orders, cancellations, time.
///
/// # Panics
/// The session violates its contract.
pub fn session(data: &[u8]) {
    let mut choices = Choices::new(data);
    let config = config(&mut choices);
    let behaviour = [Behaviour::ARBITRARY, Behaviour::INTERRUPTING, Behaviour::ORDERLY][choices.below(3)];
    let starts: Vec<Start> = (0..=choices.below(4)).map(|_| start(&mut choices)).collect();
    let deadline = choices.flip().then(|| Duration::from_millis(choices.below(256) as u64));

    let mut simulation = Simulation::new(config, Drawn, behaviour, choices);
    let ops: Vec<(OpId, Start)> = starts
        .into_iter()
        .map(|start| {
            let op = start.clone().begin(&mut simulation.session);
            (simulation.watch(op), start)
        })
        .collect();
    if let (Some((op, _)), Some(at)) = (ops.first(), deadline) {
        simulation.session.set_deadline(*op, Time::ZERO + at);
    }
    let (seen, requests) = simulation.run();

    // A false response, or dropping a driver with eight requests, consumes at least a byte of input.
    let most = 300 + 8 * data.len();
    assert!(requests.len() <= most, "{} requests, more than {most}", requests.len());
    for (op, start) in &ops {
        let watched = &seen[op];
        let is_done = watched.events.last().is_some_and(|said| said == "done");
        let Some(digest) = start.reference.digest().filter(|_| is_done) else { continue };
        let algorithm = digest.algorithm().expect("only verifiable content completes");
        if start.operation == Operation::Blob {
            assert_eq!(
                &Digest::of(algorithm, watched.sink()),
                digest,
                "a blob completes with other content than requested"
            );
        } else if start.walk.platform.is_none() {
            let resolved = watched.events.iter().find(|said| said.starts_with("resolved "));
            let resolved = resolved.expect("a finished operation was resolved");
            assert!(resolved.contains(&digest.to_string()), "{resolved}, but {digest} was requested");
        }
    }
}

struct Sample {
    registry: Registry,
    /// All its content, with the bytes.
    contents: Vec<Descriptor>,
}

static SAMPLE: LazyLock<Sample> = LazyLock::new(|| {
    let (memory, root) = Memory::sample();
    let mut contents = vec![root.clone()];
    let mut at = 0;
    while let Some(descriptor) = contents.get(at).cloned() {
        let bytes = memory.bytes(&descriptor.digest).expect("the tree is complete");
        let manifest =
            oci_proto::Manifest::verified(bytes, &descriptor, None).expect("the document is valid");
        contents.extend(manifest.children().map(|(_, child)| child.to_owned()));
        contents[at].data = memory.bytes(&descriptor.digest);
        at += 1;
    }
    Sample { registry: Registry::new(memory, &root), contents }
});

fn config(choices: &mut Choices<'_>) -> Config {
    let mut config = Config::default();
    let limits = &mut config.limits;
    limits.in_flight = choices.below(9);
    limits.in_flight_per_origin = choices.below(9);
    limits.manifest_bytes = [8 << 20, 4000, 1500, 400][choices.below(4)];
    limits.error_bytes = [1000, 10, 0][choices.below(3)];
    limits.blob_bytes = [1 << 30, 100, 20, 0][choices.below(4)];
    limits.walk_depth = [32, 2, 1, 0][choices.below(4)];
    limits.walk_nodes = [64, 12, 3, 0][choices.below(4)];
    limits.walk_bytes = [1 << 20, 4000, 100, 0][choices.below(4)];
    limits.walk_ahead_bytes = [1 << 20, 1000, 1][choices.below(3)];
    config
}

fn start(choices: &mut Choices<'_>) -> Start {
    let host = ["registry.example", "other.example:5000", "localhost:5000"][choices.below(3)];
    let repository = [Registry::REPOSITORY, "team/gone"][usize::from(choices.below(8) == 7)];
    let content = &SAMPLE.contents[choices.below(SAMPLE.contents.len())];
    let name = match choices.below(8) {
        0..3 => format!(":{}", Registry::TAG),
        3..6 => format!("@{}", content.digest),
        6 => format!(":{}@{}", Registry::TAG, content.digest),
        _ => "@md5:d41d8cd98f00b204e9800998ecf8427e".to_owned(),
    };
    let verb = ["walk", "blob", "manifest", "resolve"][choices.below(4)];
    let options = match choices.below(8) {
        1 => " blobs".to_owned(),
        2 => " strict".to_owned(),
        3 => " platform=linux/arm64".to_owned(),
        4 => format!(" size={}", content.size),
        5 => " size=4".to_owned(),
        _ => String::new(),
    };
    Start::parse(&format!("{verb} {host}/{repository}{name}{options}")).expect("an operation")
}

/// Responses that are correct, almost correct, or wrong.
struct Drawn;

impl Answers for Drawn {
    fn answer(&mut self, asked: &Asked<'_>, choices: &mut Choices<'_>) -> Result<Answer, Fault> {
        let mut answer = SAMPLE.registry.respond(asked.head);
        match choices.below(10) {
            0..4 => {}
            4 => answer.cut = Some((choices.below(256), Fault::new(FaultKind::Reset, "from the input"))),
            5 => change_header(&mut answer.headers, choices),
            6 => {
                let mut body = answer.body.to_vec();
                damage(&mut body, choices);
                answer.body = body.into();
            }
            7 => answer = Answer::new(StatusCode::OK, HeaderMap::new(), index(choices)),
            8 => answer.status = status(choices),
            _ => {
                answer = Answer::new(status(choices), HeaderMap::new(), Bytes::new());
                for _ in 0..choices.below(4) {
                    change_header(&mut answer.headers, choices);
                }
                let most = choices.below(256);
                answer.body = Bytes::copy_from_slice(choices.bytes(most));
            }
        }
        Ok(answer)
    }
}

fn status(choices: &mut Choices<'_>) -> StatusCode {
    const KNOWN: [u16; 24] = [
        200, 203, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 416, 418, 425, 429,
        500, 501, 503, 505,
    ];
    let number = match choices.byte() {
        byte @ 0..224 => KNOWN[usize::from(byte) % KNOWN.len()],
        byte => 100 + u16::from(byte - 224) * 29,
    };
    StatusCode::from_u16(number).expect("a number from 100 to 999")
}

fn change_header(headers: &mut HeaderMap, choices: &mut Choices<'_>) {
    const NAMES: [&str; 10] = [
        "content-type",
        "content-length",
        "docker-content-digest",
        "content-encoding",
        "warning",
        "retry-after",
        "location",
        "www-authenticate",
        "content-range",
        "date",
    ];
    const VALUES: [&str; 22] = [
        "",
        "0",
        "5",
        "99999999999999999999",
        "text/html",
        "application/json",
        "a/b",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "sha512:27c74670adb75075fad058d5ceaf7b20c4e7786c83bae8a32f626f9782af34c9a33c2046ef60fd2a7878d378e29fec851806bbd9a67878f3a9f1cda4830763fd",
        "md5:00",
        "gzip",
        "identity",
        "299 - \"be warned\"",
        "https://elsewhere.example/blob?sig=secret",
        "/v2/team/app/manifests/1",
        "http://registry.example/v2/",
        "Bearer realm=\"https://registry.example/token\",service=\"s\",scope=\"repository:team/app:pull\"",
        "Basic realm=\"r\"",
        "bytes 3-4/5",
    ];
    let name = HeaderName::from_static(NAMES[choices.below(NAMES.len())]);
    match choices.below(VALUES.len() + 2) {
        0 => drop(headers.remove(name)),
        1 => {
            let most = choices.below(32);
            if let Ok(value) = HeaderValue::from_bytes(choices.bytes(most)) {
                headers.insert(name, value);
            }
        }
        drawn => drop(headers.insert(name, HeaderValue::from_static(VALUES[drawn - 2]))),
    }
}

fn damage(body: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let at = (choices.below(256) << 3 | choices.below(8)).min(body.len());
    match choices.below(4) {
        0 => body.truncate(at),
        1 if at < body.len() => body[at] ^= choices.byte() | 1,
        2 => body.extend(std::iter::repeat_n(b' ', choices.below(256) * 256)),
        _ => {
            let most = choices.below(64);
            body.splice(at..at, choices.bytes(most).iter().copied());
        }
    }
}

/// An index of the registry's content, including wrong sizes and types.
fn index(choices: &mut Choices<'_>) -> Bytes {
    let mut entries = Vec::new();
    for _ in 0..choices.below(6) {
        let content = &SAMPLE.contents[choices.below(SAMPLE.contents.len())];
        let size = if choices.below(8) == 7 { content.size + 1 } else { content.size };
        let other = &SAMPLE.contents[choices.below(SAMPLE.contents.len())];
        let media_type = if choices.below(8) == 7 { &other.media_type } else { &content.media_type };
        let mut entry = serde_json::json!({
            "mediaType": media_type.as_str(), "digest": content.digest.to_string(), "size": size,
        });
        if choices.below(4) == 3 {
            entry["platform"] = serde_json::json!({ "os": "linux", "architecture": "arm64" });
        }
        if choices.below(4) == 3 {
            entry["data"] = STANDARD.encode(content.data.as_deref().unwrap_or_default()).into();
        }
        entries.push(entry);
    }
    serde_json::json!({ "schemaVersion": 2, "manifests": entries }).to_string().into()
}

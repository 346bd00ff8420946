//! The core without a network: exchanges with responses from memory, for counting instructions.

use std::collections::BTreeMap;
use std::env;
use std::hint::black_box;
use std::io;
use std::process::Command;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Response, response};
use oci_proto::server::{Content as _, Flavour, Memory};
use oci_proto::{
    Algorithm, Answer, Config, Descriptor, Digest, Event, MediaType, Output, Question, Reference, Session,
    Time, WalkOptions,
};
use serde_json::json;

use crate::fallible::Fallible;
use crate::task;

/// The number of exchanges; a second run with twice as many gives the difference.
const TIMES: usize = 500;

/// Runs a conversation, once or twice as long. The preparation is the same.
pub(crate) fn play(what: &str, is_long: bool) -> Fallible<()> {
    let mut memory = Memory::new();
    let images: Vec<Descriptor> =
        (0..2 * TIMES).map(|number| memory.add_document(MediaType::OCI_MANIFEST, image(number))).collect();
    let indexes = [TIMES, 2 * TIMES].map(|times| memory.add_index(Flavour::OCI, &images[..times]));
    let mut registry = Registry::of(&memory, images.iter().chain(&indexes));
    let times = if is_long { 2 * TIMES } else { TIMES };
    let base: Reference = "registry.example/team/app".parse()?;
    let mut session = Session::new(Config::default(), 0);
    match what {
        "hashing" => {
            for image in &images[..times] {
                let bytes = memory.bytes(&image.digest).ok_or("the sample lacks the image")?;
                black_box(Digest::of(Algorithm::Sha256, &bytes));
            }
        }
        "manifests" => {
            for image in &images[..times] {
                session.manifest(&base.at(image.digest.clone()), None);
                registry.answer(&mut session)?;
            }
        }
        "walk" => {
            let index = &indexes[usize::from(is_long)];
            session.walk(&base.at(index.digest.clone()), WalkOptions::default());
            let nodes = registry.answer(&mut session)?;
            if nodes != times + 1 {
                return Err(format!("{nodes} nodes of {times} images").into());
            }
        }
        _ => return Err(format!("no such conversation: {what}").into()),
    }
    Ok(())
}

/// The instructions for each exchange or descriptor; `None` without valgrind.
pub(crate) fn instructions(what: &str) -> Fallible<Option<u64>> {
    let count = |length: &str| -> Fallible<Option<u64>> {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(env::current_exe()?);
        let output = match valgrind.args([task::WORD, "core", what, length]).output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            output => output?,
        };
        let said = String::from_utf8_lossy(&output.stderr);
        let collected = said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
        match collected {
            Some(collected) if output.status.success() => Ok(Some(collected)),
            _ => Err(format!("valgrind: {}: {said}", output.status).into()),
        }
    };
    let (Some(once), Some(twice)) = (count("once")?, count("twice")?) else { return Ok(None) };
    Ok(Some(twice.saturating_sub(once) / TIMES as u64))
}

fn image(number: usize) -> String {
    let blob = |media_type: &str, byte: &str| json!({ "mediaType": media_type, "digest": format!("sha256:{}", byte.repeat(32)), "size": 1_234_567 });
    let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
    let layers = ["2b", "3c", "4d", "5e"].map(|byte| blob(layer, byte));
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST.as_str(),
        "config": blob("application/vnd.oci.image.config.v1+json", "1a"),
        "layers": layers,
        // The same number of bytes for every number.
        "annotations": { "org.opencontainers.image.version": format!("{number:08}") },
    })
    .to_string()
}

/// Prepared responses.
struct Registry {
    answers: BTreeMap<String, (response::Parts, Bytes)>,
}

impl Registry {
    fn of<'a>(memory: &Memory, documents: impl Iterator<Item = &'a Descriptor>) -> Self {
        let answers = documents.filter_map(|document| {
            let path = format!("/v2/team/app/manifests/{}", document.digest);
            let response = Response::builder()
                .header(CONTENT_TYPE, document.media_type.as_str())
                .header("docker-content-digest", document.digest.to_string())
                .header("content-length", document.size)
                .body(())
                .ok()?;
            let bytes = memory.bytes(&document.digest)?;
            Some((path, (response.into_parts().0, bytes)))
        });
        Self { answers: answers.collect() }
    }

    /// Responds to each request, once, until an operation is done, and returns the number of nodes.
    fn answer(&mut self, session: &mut Session) -> Fallible<usize> {
        let mut nodes = 0;
        loop {
            match session.poll_output(Time::ZERO) {
                Output::Send(exchange) => {
                    let (request, _sending, awaiting) = exchange.split();
                    let path = request.uri().path();
                    let (head, body) = self.answers.remove(path).ok_or("a request for unknown content")?;
                    let mut receiving = awaiting.head(head.status, head.headers);
                    receiving.push(&body)?;
                    session.complete(Time::ZERO, receiving.finish());
                }
                Output::Ask(query, Question::Store { .. }) => {
                    session.answer(Time::ZERO, query, Answer::Stored);
                }
                Output::Event(_, Event::Node(_)) => nodes += 1,
                Output::Event(_, Event::Done) => return Ok(nodes),
                Output::Event(_, Event::Failed(error)) => return Err(error.into()),
                Output::Event(..) => {}
                other => return Err(format!("unexpected: {other:?}").into()),
            }
        }
    }
}

//! A driver that swaps the responses of requests within a session.

use bytes::Bytes;
use oci_proto::server::Content as _;
use oci_proto::{Config, Digest, Fault, OpId, PullOptions, Reference};
use oci_proto_tests::simulation::{Answers, Asked, Behaviour, Choices, Content, Registry, Simulation};
use oci_proto_tests::transcript::Answer;
use proptest::collection::vec;
use proptest::prelude::*;

use super::plan::content;

/// Sometimes responds with the response of another request.
struct Swapped<'c> {
    content: &'c Content,
    registry: Registry,
    given: Vec<Answer>,
}

impl Answers for Swapped<'_> {
    fn answer(&mut self, asked: &Asked<'_>, choices: &mut Choices<'_>) -> Result<Answer, Fault> {
        let right = self.registry.respond(asked.head);
        self.given.push(right.clone());
        let is_swapped = choices.once_in(3);
        Ok(if is_swapped { self.given[choices.below(self.given.len().min(256))].clone() } else { right })
    }

    fn content(&self, digest: &Digest) -> Option<Bytes> {
        self.content.memory.bytes(digest)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The simulation checks all stored content against its digest.
    #[test]
    fn swapped_responses_fail_operations_or_have_no_effect(
        content in content(), choices in vec(any::<u8>(), 0..600),
    ) {
        let answers = Swapped { registry: content.registry(), content: &content, given: Vec::new() };
        let mut simulation = Simulation::new(Config::default(), answers, Behaviour::ORDERLY, Choices::new(&choices));
        let base: Reference = "registry.example/team/app:1".parse().expect("a reference");
        let root = base.at(content.root.digest.clone());
        let session = &mut simulation.session;
        let mut ops: Vec<(OpId, Digest)> = vec![
            (session.manifest(&root, None), content.root.digest.clone()),
            (session.resolve(&root, None), content.root.digest.clone()),
            (session.pull(&root, PullOptions::default()), content.root.digest.clone()),
        ];
        let blobs = content.blobs().into_iter().take(8);
        ops.extend(blobs.map(|(digest, size)| (session.blob(&base.at(digest.clone()), Some(size)), digest)));
        for (op, _) in &ops {
            simulation.watch(*op);
        }
        let (seen, _) = simulation.run();
        for (index, (op, digest)) in ops.iter().enumerate() {
            let watched = &seen[op];
            if !watched.is_done() {
                continue;
            }
            // The first three operations have a root, and the others a sink.
            if index < 3 {
                let of_root = |said: &&String| said.starts_with("resolved ");
                let resolved = watched.events.iter().find(of_root).expect("a finished operation was resolved");
                prop_assert!(resolved.contains(&digest.to_string()), "{}, not {}", resolved, digest);
            } else {
                let algorithm = digest.algorithm().expect("the algorithm is supported");
                prop_assert_eq!(&Digest::of(algorithm, watched.sink()), digest, "a blob with other content");
            }
        }
    }
}

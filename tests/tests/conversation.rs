//! Conversations with registries that want to know who asks, redirect, break off and lie; and a look at
//! how deep they go.
#![expect(clippy::print_stdout, reason = "`--nocapture` shows how often what happened")]

use std::cell::RefCell;

use oci_proto_tests::conversation::{Counts, converse};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

/// What must happen in the conversations below, so that what they are held to is held to something: this
/// often in a thousand of them.
const DEPTH: [(&str, usize); 17] = [
    ("answers that ask for time", 70),
    ("challenges to what was shown", 50),
    ("challenges", 3000),
    ("odd answers", 1500),
    ("operations done", 1800),
    ("operations failed", 1000),
    ("questions for logins", 1700),
    ("redirects of requests for tokens", 30),
    ("redirects", 700),
    ("refresh tokens posted", 300),
    ("refresh tokens shown to GET", 200),
    ("requests elsewhere", 600),
    ("requests with Authorization", 2000),
    ("resumed requests", 75),
    ("retries", 220),
    ("tokens", 950),
    ("truthful redirects", 600),
];

#[test]
fn no_secret_goes_astray_and_all_that_is_started_ends() {
    let counts = RefCell::new(Counts::new());
    let config = ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() };
    // The same ones each time, so that the counts are. The bodies of the fuzz targets are run over others.
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let result = runner.run(&vec(any::<u8>(), 0..800), |data| {
        for (what, times) in converse(&data).0 {
            *counts.borrow_mut().entry(what).or_default() += times;
        }
        Ok(())
    });
    let counts = counts.into_inner();
    for (what, times) in &counts {
        println!("{times:8} {what}");
    }
    if let Err(e) = result {
        panic!("{e}")
    }
    for (what, least) in DEPTH {
        assert!(
            counts.get(what).is_some_and(|times| *times >= least),
            "fewer than {least} {what}: {counts:?}"
        );
    }
}

//! Every transcript, on both adapters.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use oci_proto_tests::adapter::MAKERS;
use oci_proto_tests::internet::Authority;
use oci_proto_tests::transcript::Transcript;

/// What only a session can show: see [`Transcript::core_only`].
const CORE_ONLY: [&str; 28] = [
    "abandoned_blob_comes_again.txt",
    "abandoned_part_goes_on_from_its_beginning.txt",
    "abandoned_question_is_put_again.txt",
    "abandoned_requests_are_asked_for_again.txt",
    "cancelled_operation_says_nothing_more.txt",
    "cancelled_request_for_a_token_is_aborted.txt",
    "deadline_fails_the_operation.txt",
    "failing_server_is_asked_for_other_things_meanwhile.txt",
    "foreign_layers_are_asked_for_within_limits.txt",
    "login_that_cannot_be_looked_up_is_an_error.txt",
    "paused_operation_is_silent.txt",
    "paused_operation_tries_nothing_again.txt",
    "plain_http_is_for_loopback.txt",
    "plain_http_stays_on_this_machine.txt",
    "pull_begins_anew_where_what_is_there_is_wrong.txt",
    "pull_fails_where_something_is_missing.txt",
    "pull_finds_leaves_of_an_index.txt",
    "pull_goes_on_with_what_is_there.txt",
    "pull_leaves_foreign_layers_out.txt",
    "pull_stores_an_index_after_all_that_it_names.txt",
    "pull_stores_what_names_something_after_it.txt",
    "pull_takes_the_largest_first.txt",
    "pull_takes_what_is_carried_where_all_of_it_agrees.txt",
    "questions_of_cancelled_operations_take_no_room_from_logins.txt",
    "requests_in_flight_are_bounded_in_all.txt",
    "retry_after_is_honoured.txt",
    "tls_and_sink_faults_are_final.txt",
    "token_serves_while_it_lasts.txt",
];

#[test]
#[expect(clippy::print_stdout, reason = "whoever asks what was left out reads it there")]
fn every_transcript_has_the_same_outcome_on_both_adapters() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let authority = Arc::new(Authority::new());
    let (mut failures, mut left_out) = (Vec::new(), Vec::new());
    for name in &names {
        let transcript = Transcript::parse(&fs::read_to_string(folder.join(name)).unwrap()).unwrap();
        if let Some(reason) = transcript.core_only().unwrap() {
            println!("{name}: left out, since {reason}");
            left_out.push(name.as_str());
            continue;
        }
        for (adapter, make) in MAKERS {
            if let Err(problem) = transcript.play(make, &authority) {
                failures.push(format!("{name} on {adapter}: {problem}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(left_out, CORE_ONLY, "what only a session can show");
    assert!(names.len() > CORE_ONLY.len(), "no transcript was played");
}

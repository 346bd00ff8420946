//! Plays every transcript to both adapters, except those that only a session can play.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use oci_proto_tests::clients::MAKERS;
use oci_proto_tests::internet::Authority;
use oci_proto_tests::transcript::Transcript;

/// Transcripts that only a session can play: see [`Transcript::core_only`].
const CORE_ONLY: [&str; 89] = [
    "abandoned_blob_request_is_repeated_from_its_start.txt",
    "abandoned_content_questions_are_asked_again.txt",
    "abandoned_credentials_question_is_asked_again.txt",
    "abandoned_deletion_may_find_nothing.txt",
    "abandoned_range_request_is_repeated_from_its_start.txt",
    "abandoned_requests_are_sent_again.txt",
    "blob_of_a_mirror_is_resumed_elsewhere.txt",
    "blocked_registry_is_not_asked.txt",
    "cancelled_operation_emits_no_events.txt",
    "copy_answers_challenges_of_its_uploads.txt",
    "copy_ends_a_loop_of_redirects.txt",
    "copy_fails_if_a_fresh_token_is_refused.txt",
    "copy_follows_redirects_of_its_uploads.txt",
    "copy_of_wrong_content_completes_no_upload.txt",
    "copy_of_wrong_content_ends_before_its_download.txt",
    "copy_of_wrong_content_falls_back_with_a_new_upload.txt",
    "copy_reads_from_mirrors_and_writes_to_the_registry.txt",
    "corrupt_part_of_a_blob_starts_over_at_a_mirror.txt",
    "deadline_fails_the_operation.txt",
    "driver_may_fail_an_operation.txt",
    "failed_answer_fails_the_operation.txt",
    "failed_credentials_lookup_is_an_error.txt",
    "limits_apply_to_nondistributable_layers.txt",
    "location_replaces_the_prefix_of_a_reference.txt",
    "lost_request_is_retried_if_transient.txt",
    "manifest_digest_of_another_algorithm_is_verified.txt",
    "manifest_is_not_stored_before_it_is_sent.txt",
    "manifest_refused_with_400_is_an_error.txt",
    "manifest_refused_with_413_is_an_error.txt",
    "manifest_refused_with_422_is_an_error.txt",
    "manifest_refused_with_500_is_not_repeated.txt",
    "manifest_stored_under_another_digest_is_an_error.txt",
    "mirror_is_asked_for_content_alone.txt",
    "mirror_with_wrong_content_is_passed_over.txt",
    "mirrors_are_asked_for_content_first.txt",
    "paused_list_requests_no_page.txt",
    "paused_operation_accepts_answers.txt",
    "paused_operation_is_not_retried.txt",
    "paused_operation_is_silent.txt",
    "plain_http_does_not_leave_loopback.txt",
    "plain_http_is_used_for_loopback_only.txt",
    "private_registry_may_lead_to_private_addresses.txt",
    "pull_asks_mirrors_for_the_content_of_referrers_alone.txt",
    "pull_fails_if_a_referrer_is_missing.txt",
    "pull_fails_if_content_is_missing.txt",
    "pull_fetches_index_entries_of_unknown_type.txt",
    "pull_fetches_referrers_before_the_root.txt",
    "pull_fetches_the_largest_blob_first.txt",
    "pull_finds_referrers_in_the_fallback_index.txt",
    "pull_of_a_root_that_is_a_referrer_itself_ends.txt",
    "pull_restarts_a_blob_with_a_corrupt_part.txt",
    "pull_resumes_from_held_content.txt",
    "pull_skips_nondistributable_layers.txt",
    "pull_stores_a_referrer_that_names_the_root_as_a_blob_after_it.txt",
    "pull_stores_an_index_after_its_content.txt",
    "pull_stores_documents_after_their_content.txt",
    "pull_uses_embedded_data_that_matches.txt",
    "pull_waits_until_everything_is_stored.txt",
    "push_fails_if_a_document_is_missing.txt",
    "push_fails_if_referrers_cannot_be_listed.txt",
    "push_is_bounded_in_referrers_of_unknown_types.txt",
    "push_sends_referrers_before_the_root.txt",
    "questions_of_cancelled_operations_do_not_evict_credentials.txt",
    "requests_in_flight_are_bounded_in_total.txt",
    "resumed_blob_with_a_wrong_digest_starts_over_once.txt",
    "retry_after_is_honoured.txt",
    "retry_does_not_delay_other_requests.txt",
    "subject_without_referrers_is_listed_in_an_index.txt",
    "tag_of_a_mirror_counts_only_if_allowed.txt",
    "tag_that_names_the_document_is_not_set_again.txt",
    "tag_that_was_set_by_a_lost_request_is_accepted.txt",
    "tls_and_storage_faults_are_final.txt",
    "token_is_used_until_it_expires.txt",
    "token_request_is_aborted_with_its_last_waiter.txt",
    "unreachable_mirror_is_not_asked_again.txt",
    "unsent_request_is_retried.txt",
    "upload_chunk_is_not_accepted_before_it_is_sent.txt",
    "upload_from_a_longer_source_fails.txt",
    "upload_in_chunks_verifies_the_whole_source.txt",
    "upload_is_not_done_before_its_content_is_sent.txt",
    "upload_of_a_stream_is_sent_in_chunks.txt",
    "upload_of_a_stream_may_end_after_its_last_byte.txt",
    "upload_that_is_cancelled_is_deleted.txt",
    "upload_that_is_lost_asks_for_its_status.txt",
    "upload_that_was_never_sent_is_repeated.txt",
    "upload_waits_for_retry_after_of_another_origin.txt",
    "upload_waits_once_for_retry_after.txt",
    "url_of_a_layer_at_a_private_address_is_refused.txt",
    "url_of_a_layer_gets_no_credentials.txt",
];

#[test]
#[expect(clippy::print_stdout, reason = "lists the transcripts that are not played")]
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
            println!("{name}: skipped, because {reason}");
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
    assert_eq!(left_out, CORE_ONLY, "transcripts that cannot be played");
    assert!(names.len() > CORE_ONLY.len(), "no transcript was played");
}

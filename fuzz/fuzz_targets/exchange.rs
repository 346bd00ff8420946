//! However a body is cut into chunks, the sink gets the same bytes, and the session does the same next.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::exchange(data));

//! Challenges read back from their own text, together, one by one and as lines of one each.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::challenge(data));

//! Challenges print as text that parses to the same value: together, one by one, and on one line each.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::challenge(data));

//! A Retry-After prints as text that parses to the same value, and its delay is not negative.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::retry_after(data));

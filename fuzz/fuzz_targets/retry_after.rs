//! A Retry-After reads back from its own text, and says a delay that is not negative.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::retry_after(data));

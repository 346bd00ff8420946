//! A Range prints as text that parses to the same value, and selects bytes within the content only.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::range(data));

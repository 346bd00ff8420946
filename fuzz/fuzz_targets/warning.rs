//! Warnings print as text that parses to the same value, without control characters.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::warning(data));

//! Links print as text that parses to the same value, and each target is resolved or refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::link(data));

//! A digest prints as text that parses to the same value, and consists of its algorithm and its value.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::digest(data));

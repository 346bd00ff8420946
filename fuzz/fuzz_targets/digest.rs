//! What reads as a digest reads back from its own text, and is its algorithm and its value.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::digest(data));

//! Links read back from their own text, and each target resolves or is refused.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::link(data));

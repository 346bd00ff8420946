//! A layout reference prints as text that parses to the same value.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::layout_reference(data));

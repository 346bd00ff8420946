//! A Range reads back from its own text, and selects nothing outside the whole.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::range(data));

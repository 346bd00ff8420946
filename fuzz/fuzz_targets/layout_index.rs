//! A layout index is written as the same value, including everything that it does not understand.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::layout_index(data));

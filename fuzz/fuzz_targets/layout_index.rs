//! What reads as a layout's index is written as the same value, and keeps all that it does not understand.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::layout_index(data));

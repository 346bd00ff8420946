//! What reads as a layout's marker says the version that can be read.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::layout_marker(data));

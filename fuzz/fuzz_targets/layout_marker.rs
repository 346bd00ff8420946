//! A layout marker that parses has the supported version.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::layout_marker(data));

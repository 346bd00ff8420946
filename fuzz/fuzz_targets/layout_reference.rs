//! What names a layout reads back from its own text.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::layout_reference(data));

//! A registry that is written to answers every request, and has what a model of it has.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::registry(data));

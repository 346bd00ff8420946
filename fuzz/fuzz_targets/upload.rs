//! An upload ends, whatever the headers of the responses.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::upload(data));

//! A media type reads back from its own text, which has neither parameters nor upper case.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::media_type(data));

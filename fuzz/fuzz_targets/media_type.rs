//! A media type prints as text that parses to the same value, without parameters or upper case.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::media_type(data));

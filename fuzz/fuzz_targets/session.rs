//! A session keeps its contract whatever the registry's responses and the driver's actions.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::session(data));

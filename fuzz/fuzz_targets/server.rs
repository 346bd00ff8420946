//! Every request gets a well-formed response: a known status, an error body with each refusal, a body of the
//! length in its head.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::server(data));

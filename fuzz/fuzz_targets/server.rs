//! Any request has a well-formed answer: a known status, an error body with each refusal, a body as long as its
//! head says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::server(data));

//! However a body is divided into chunks, the sink receives the same bytes, and the session's next outputs
//! are the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::exchange(data));

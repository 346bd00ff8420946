//! What is read as a token answer is what `serde_json` finds in it, fits a header, and does not show.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::token(data));

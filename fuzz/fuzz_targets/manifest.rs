//! What is read from a document is what `serde_json` and `oci-spec` find in it, wherever they read it too.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::manifest(data));

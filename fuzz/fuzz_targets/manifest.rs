//! A parsed document agrees with `serde_json`, and with `oci-spec` for documents that it accepts.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::manifest(data));

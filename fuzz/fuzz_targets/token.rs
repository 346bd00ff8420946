//! A parsed token response agrees with `serde_json`; its token is valid in a header, and is not shown.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::token(data));

//! The error for any refusal by a registry is short, on one line, without control characters, and names the
//! status.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::error_body(data));

//! Warnings read back from their own text, which holds no control characters.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::warning(data));

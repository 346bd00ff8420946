//! A scope prints as text that parses to the same value, covers itself, is unchanged by a merge with itself,
//! and is bounded.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::scope(data));

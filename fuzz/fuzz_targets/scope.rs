//! A scope reads back from its own text, covers itself, gains nothing from itself, and is bounded.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::scope(data));

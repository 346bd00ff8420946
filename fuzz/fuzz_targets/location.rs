//! A resolved Location is absolute, without user info, fragment or dot segments, and resolves to itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::location(data));

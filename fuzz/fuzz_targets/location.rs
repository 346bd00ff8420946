//! What a Location resolves to is absolute, without user or fragment or dot segments, and resolves to itself.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::location(data));

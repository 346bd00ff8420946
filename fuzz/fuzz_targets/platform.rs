//! A platform prints as text that parses to the same value and matches itself exactly; the best of several
//! has the lowest rank.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::platform(data));

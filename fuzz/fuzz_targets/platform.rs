//! A platform reads back from its own text and fits itself exactly; the best of several is one of the smallest rank.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::platform(data));

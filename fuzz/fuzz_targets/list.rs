//! A list ends, whatever its pages: within its limits, at its own origin, and with each entry once.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::list(data));

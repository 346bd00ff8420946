//! Whatever a registry answers, and whatever a driver does, the session keeps its contract.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::session(data));

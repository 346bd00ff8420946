//! Whatever registries, token servers and drivers do, no secret goes where it must not, every operation ends, and the
//! same input gives the same run.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::conversation(data));

//! A session keeps its contract whatever registries, token servers, mirrors, networks and drivers do (no
//! secret leaks, every operation ends, results are correct, available content is delivered), and equal inputs
//! give equal runs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::simulation(data));

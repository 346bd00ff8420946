//! Whatever registries, token servers, mirrors, networks and drivers do, the session keeps its promises (no secret goes
//! astray, every operation ends, what is done is right, all that can be had is had), and the same input gives the same run.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::simulation(data));

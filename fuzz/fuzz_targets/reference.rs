//! References, registries, repositories and tags print as text that parses to the same value; a reference has
//! a tag or a digest, and forms exactly the expected URL.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::reference(data));

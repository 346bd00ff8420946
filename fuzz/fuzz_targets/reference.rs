//! What reads as a reference, a registry, a repository or a tag reads back from its own text; a reference has a
//! tag or a digest, and makes exactly the URL that it says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::reference(data));

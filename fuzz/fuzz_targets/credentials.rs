//! For any credentials file, no secret in it is shown, no helper with an invalid name is run, and credentials
//! that are found are those in the file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::credentials(data));

//! Whatever a file of logins holds, no secret in it shows, no helper of an odd name is run, and what is found is what
//! the file says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::credentials(data));

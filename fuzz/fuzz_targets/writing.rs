//! Operations that write or list end, whatever the registries and the driver do.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::writing(data));

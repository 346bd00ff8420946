//! A Content-Range prints as text that parses to the same value, has a range or a total, and its range fits
//! its total.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::content_range(data));

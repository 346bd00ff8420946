//! A Content-Range reads back from its own text, has a range or a total, and its range fits its total.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| oci_proto_tests::bodies::content_range(data));

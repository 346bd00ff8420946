//! Generates trees, limits and options.

use oci_proto::{Limits, WalkOptions};
use oci_proto_tests::simulation::{Choices, Content};
use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) fn content() -> impl Strategy<Value = Content> {
    vec(any::<u8>(), 0..150).prop_map(|bytes| Content::draw(&mut Choices::new(&bytes)))
}

/// Limits, some of which are reached now and then.
pub(crate) fn limits() -> impl Strategy<Value = Limits> {
    let rarely = |low: std::ops::Range<u64>| prop_oneof![8 => Just(1 << 30), 1 => low];
    (
        1..6_usize,
        1..6_usize,
        rarely(0..5),
        rarely(1..30),
        rarely(0..4000),
        prop_oneof![Just(1 << 30), 0..2000_u64],
    )
        .prop_map(|(origin, all, depth, nodes, bytes, ahead)| {
            let mut limits = Limits::default();
            limits.in_flight_per_origin = origin;
            limits.in_flight = all;
            limits.walk_depth = u32::try_from(depth).expect("the number is small");
            limits.walk_nodes = nodes;
            limits.walk_bytes = bytes;
            limits.walk_ahead_bytes = ahead;
            limits
        })
}

pub(crate) fn options() -> impl Strategy<Value = WalkOptions> {
    (any::<bool>(), any::<bool>()).prop_map(|(blobs, strict)| {
        let mut options = WalkOptions::default();
        (options.blobs, options.strict) = (blobs, strict);
        options
    })
}

//! Prints the tree under a reference: `cargo run -p oci-proto-ureq --example tree_blocking -- alpine`.
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use oci_proto_ureq::Client;
use oci_proto_ureq::oci_proto::{Reference, WalkOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let reference: Reference = std::env::args().nth(1).ok_or("usage: tree_blocking REFERENCE")?.parse()?;
    for node in Client::new()?.walk(&reference, WalkOptions::default()) {
        let node = node?;
        println!("{} {} {}", node.depth, node.kind, node.descriptor.digest);
    }
    Ok(())
}

//! Prints the tree under a reference: `cargo run -p oci-proto-tokio --example tree_async -- alpine`.
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use futures_util::TryStreamExt as _;
use oci_proto_tokio::Client;
use oci_proto_tokio::oci_proto::{Reference, WalkOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let reference: Reference = std::env::args().nth(1).ok_or("usage: tree_async REFERENCE")?.parse()?;
    let mut walk = Client::new()?.walk(&reference, WalkOptions::default());
    while let Some(node) = walk.try_next().await? {
        println!("{} {} {}", node.depth, node.kind, node.descriptor.digest);
    }
    Ok(())
}

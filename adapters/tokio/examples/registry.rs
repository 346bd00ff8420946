//! A registry in memory, which everyone may push to, with an access log.
//!
//! ```text
//! cargo run -p oci-proto-tokio --example registry -- 127.0.0.1:5000
//! ```
#![expect(clippy::print_stderr, reason = "the access log")]

use std::error::Error;

use oci_proto_tokio::oci_proto::server::Policy;
use oci_proto_tokio::server::{Options, SharedRegistry};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: registry ADDRESS:PORT")?;
    let listener = TcpListener::bind(address).await?;
    eprintln!("listening on {}", listener.local_addr()?);
    let options = Options::default().on_access(|record| eprintln!("{record}"));
    let registry = SharedRegistry::in_memory(Policy::open())?;
    registry.serve(listener, options, std::future::pending::<()>()).await?;
    Ok(())
}

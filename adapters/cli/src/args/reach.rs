//! The servers to which a registry may lead requests.

use clap::Args;
use oci_proto::Registry;

#[derive(Args, Debug)]
pub(crate) struct ReachArgs {
    /// Let a public registry lead requests to private addresses: of this machine, its networks, or cloud metadata.
    ///
    /// A registry leads to other servers by token servers, redirects, upload locations and layer URLs. One that is itself at
    /// a private address may always lead to others. Behind a proxy, host names cannot be checked.
    #[arg(long, global = true, help_heading = "Connection")]
    pub(crate) allow_private_addresses: bool,
    /// Besides the registry itself, request tokens only from this host; can be repeated.
    #[arg(long, global = true, value_name = "HOST[:PORT]", help_heading = "Connection")]
    pub(crate) token_server: Vec<Registry>,
}

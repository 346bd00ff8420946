//! A registry that takes pushes, in a directory of layouts.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use oci_proto::server::Server;
use oci_proto::{Repository, Time};
use oci_proto_layout::{LayoutError, LayoutErrorKind, RegistryDirectory};
use oci_proto_tokio::server::SharedRegistry;

use crate::args::CommonArgs;
use crate::commands::serve::access::Access;
use crate::commands::serve::reported::Reported;
use crate::commands::serve::running::run_until_stopped;
use crate::output::{Failure, count};

pub(super) fn run(
    directory: &Path,
    listen: SocketAddr,
    access: &Access,
    common: &CommonArgs,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let opened = RegistryDirectory::open(directory, access.space.clone());
    let (storage, contents) = opened.map_err(|error| match error.kind() {
        // The hint would be about archives.
        LayoutErrorKind::NotALayout(_) => Failure::failed(error),
        _ => Failure::of_layout(&error),
    })?;
    warn(contents.warnings(), common);
    let mut policy = access.policy();
    policy.reserved_components = RegistryDirectory::reserved_components().collect();
    let mut server = Server::with_policy(policy, RandomState::new().hash_one(0));
    contents.load_into(&mut server, Time::ZERO);
    let repositories: Vec<Repository> = contents.repositories().cloned().collect();
    drop(contents);

    let registry = SharedRegistry::new(server, Reported(storage))
        .map_err(|error| Failure::failed(format_args!("could not start a registry: {error}")))?;
    let options = access.options(listen, common);
    let print = |address| {
        writeln!(out, "{}://{address} serves {} until Ctrl-C:", access.scheme(), directory.display())?;
        for repository in &repositories {
            writeln!(out, "  {address}/{repository}")?;
        }
        if repositories.is_empty() {
            writeln!(out, "  no repositories yet")?;
        }
        writeln!(out, "{}", access.words())?;
        out.flush()?;
        Ok(())
    };
    let serve = |listener, shutdown| async move { registry.serve(listener, options, shutdown).await };
    run_until_stopped(listen, access.connections, common, print, serve)
}

/// Prints what cannot be served.
fn warn(warnings: &[LayoutError], common: &CommonArgs) {
    const SHOWN: usize = 10;
    for warning in warnings.iter().take(SHOWN) {
        common.note(format_args!("warning: {warning}"));
    }
    if let more @ 1.. = warnings.len().saturating_sub(SHOWN) {
        let more = count(more as u64, "more warning");
        common.note(format_args!("{more}; `ocip check oci:DIR/REPOSITORY` lists the problems of a layout"));
    }
}

//! `ocip serve`.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use oci_proto::Repository;

use crate::args::CommonArgs;
use crate::args::layout_name::LayoutName;
use crate::args::serving::{ServeArgs, Served};
use crate::commands::serve::access::Access;
use crate::commands::serve::load::{Loaded, ServedRoot, load, note};
use crate::commands::serve::running::run_until_stopped;
use crate::output::Failure;

mod access;
mod load;
mod reported;
mod running;
mod stop;
mod writable;

pub(crate) fn run(command: &ServeArgs, common: &CommonArgs, out: &mut impl Write) -> Result<(), Failure> {
    let served = command.served().map_err(|mistake| Failure::from(&mistake))?;
    let access = Access::open(&command.access)?;
    match served {
        Served::Layout(name, repository) => {
            serve_layout(&name, &repository, command.listen, &access, common, out)
        }
        Served::Writable(directory) => writable::run(&directory, command.listen, &access, common, out),
    }
}

/// Serves a layout, read-only.
fn serve_layout(
    name: &LayoutName,
    repository: &Repository,
    listen: SocketAddr,
    access: &Access,
    common: &CommonArgs,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let layout = name.open().map_err(|error| Failure::of_opening(&error, name))?;
    let Loaded { server, roots, missing } = load(&layout, name, repository, access.read_only_policy())?;
    if !missing.is_empty() {
        common.note(format_args!("{}", note(&missing, name)));
    }
    let print = |address| {
        writeln!(out, "{}://{address} serves {} until Ctrl-C:", access.scheme(), name.path().display())?;
        for ServedRoot { repository, tag, root } in &roots {
            match tag {
                Some(tag) => writeln!(out, "  {address}/{repository}:{tag}")?,
                None => writeln!(out, "  {address}/{repository}@{}", root.digest)?,
            }
        }
        out.flush()?;
        Ok(())
    };
    let options = access.options(listen, common);
    let serve = |listener, shutdown| options.serve(listener, Arc::new(server), layout, shutdown);
    run_until_stopped(listen, access.connections, common, print, serve)
}

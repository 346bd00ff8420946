//! `ocip serve`.

use std::io::{self, Write};
use std::sync::Arc;

use oci_proto_tokio::server::Options;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

use crate::args::{CommonArgs, ServeArgs};
use crate::commands::serve::load::{Loaded, ServedRoot, load, note};
use crate::commands::serve::stop::Stop;
use crate::output::Failure;
use crate::stderr::print_line;

mod load;
mod stop;

pub(crate) fn run(command: &ServeArgs, common: &CommonArgs, out: &mut impl Write) -> Result<(), Failure> {
    let name = &command.layout;
    let layout = name.open().map_err(|error| Failure::of_opening(&error, name))?;
    let Loaded { server, roots, missing } = load(&layout, name, &command.repository)?;
    if !missing.is_empty() {
        common.note(format_args!("{}", note(&missing, name)));
    }

    let no_listener = |error: io::Error| {
        let failure = Failure::failed(format_args!("could not serve on {}: {error}", command.listen));
        match error.kind() {
            io::ErrorKind::AddrInUse => failure.with_hint("--listen 127.0.0.1:0 selects a free port"),
            _ => failure,
        }
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(no_listener)?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(command.listen).await.map_err(no_listener)?;
        let address = listener.local_addr().map_err(no_listener)?;
        // Before the address is printed: its reader may send a signal at once.
        let mut stop = Stop::new().map_err(no_listener)?;
        writeln!(out, "http://{address} serves {} until Ctrl-C:", name.path().display())?;
        for ServedRoot { repository, tag, root } in &roots {
            match tag {
                Some(tag) => writeln!(out, "  {address}/{repository}:{tag}")?,
                None => writeln!(out, "  {address}/{repository}@{}", root.digest)?,
            }
        }
        out.flush()?;
        let (begin_shutdown, shutdown) = oneshot::channel::<()>();
        let serving = Options::default()
            .on_blob_error(|error| print_line(format_args!("error: {error}")))
            .serve(listener, Arc::new(server), layout, shutdown);
        let stopped_twice = async {
            stop.next().await;
            drop(begin_shutdown);
            stop.next().await;
        };
        tokio::select! {
            served = serving => {
                served.map_err(|error| Failure::failed(format_args!("the registry stopped: {error}")))?;
                common.note(format_args!("stopped"));
            }
            () = stopped_twice => common.note(format_args!("stopped before all requests had finished")),
        }
        Ok(())
    });
    // A read of a slow disk does not delay the exit.
    runtime.shutdown_background();
    served
}

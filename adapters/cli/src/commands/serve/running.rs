//! A server that runs until a signal stops it.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

use crate::args::CommonArgs;
use crate::commands::serve::stop::Stop;
use crate::output::Failure;

/// Listens, calls `print` with the address, and serves until the first signal. `serve` then has time to finish
/// requests, and is dropped at the second one.
pub(super) fn run_until_stopped<S: Future<Output = io::Result<()>>>(
    address: SocketAddr,
    connections: usize,
    common: &CommonArgs,
    print: impl FnOnce(SocketAddr) -> Result<(), Failure>,
    serve: impl FnOnce(TcpListener, oneshot::Receiver<()>) -> S,
) -> Result<(), Failure> {
    let no_listener = |error: io::Error| {
        let failure = Failure::failed(format_args!("could not serve on {address}: {error}"));
        match error.kind() {
            io::ErrorKind::AddrInUse => failure.with_hint("--listen 127.0.0.1:0 selects a free port"),
            _ => failure,
        }
    };
    raise_open_files(connections);
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(no_listener)?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(address).await.map_err(no_listener)?;
        let address = listener.local_addr().map_err(no_listener)?;
        // Before the address is printed: its reader may send a signal at once.
        let mut stop = Stop::new().map_err(no_listener)?;
        print(address)?;
        let (begin_shutdown, shutdown) = oneshot::channel::<()>();
        let serving = serve(listener, shutdown);
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

/// Raises the number of files that this process may have open: each of its connections has a socket and may have two
/// files, which comes near the usual limit.
#[cfg(unix)]
fn raise_open_files(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    // The storage and the system have files of their own.
    let enough = 3 * connections as u64 + 2560;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = maximum.unwrap_or(u64::MAX).min(enough);
    if current.is_some_and(|current| current < raised) {
        // Otherwise connections wait while no file can be opened.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
    }
}

#[cfg(not(unix))]
fn raise_open_files(_connections: usize) {}

//! Our server in its own process, like `ocip serve`, optionally with delayed responses.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use oci_proto::Time;
use oci_proto::server::{Policy, Server};
use oci_proto_layout::{RegistryDirectory, RegistryOptions};
use oci_proto_tokio::layout::Layout;
use oci_proto_tokio::server::{Options, SharedRegistry, serve as serve_at_once};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::time::sleep;

use crate::content::REPOSITORY;
use crate::fallible::Fallible;

/// Serves a layout, with each response delayed by `delay`, until stdin ends. Prints its address on stdout.
pub(crate) fn serve(folder: &Path, delay: Duration) -> Fallible<()> {
    let layout = Layout::open(folder)?;
    let mut server = Server::new();
    for root in layout.roots() {
        let tag = root.ref_name().ok_or("a root has no name")?.parse()?;
        server.add(&REPOSITORY.parse()?, Some(&tag), root.descriptor(), &layout)?;
    }
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (listener, end) = (listen().await?, end());
        if delay.is_zero() {
            serve_at_once(listener, Arc::new(server), layout, end).await?;
            return Ok(());
        }
        let mut end = pin!(end);
        let (server, layout) = (Arc::new(server), Arc::new(layout));
        loop {
            let (stream, _) = tokio::select! {
                () = &mut end => return Ok(()),
                accepted = listener.accept() => accepted?,
            };
            stream.set_nodelay(true)?;
            let (server, layout) = (server.clone(), layout.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (server, layout) = (server.clone(), layout.clone());
                async move {
                    sleep(delay).await;
                    Ok::<_, Infallible>(Options::default().respond(&server, &*layout, request).await)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    })
}

/// Serves a directory that takes pushes, like `ocip serve DIR --writable`, until stdin ends. Prints its address on stdout.
pub(crate) fn registry(folder: &Path) -> Fallible<()> {
    let (storage, contents) = RegistryDirectory::open(folder, RegistryOptions::default())?;
    let mut server = Server::with_policy(Policy::open(), 0);
    contents.load_into(&mut server, Time::ZERO);
    let registry = SharedRegistry::new(server, storage)?;
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (listener, end) = (listen().await?, end());
        registry.serve(listener, Options::default(), end).await?;
        Ok(())
    })
}

/// Listens on a free port, and prints the address for the parent.
pub(crate) async fn listen() -> Fallible<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    #[expect(clippy::print_stdout, reason = "read by the parent")]
    {
        println!("{}", listener.local_addr()?);
    }
    Ok(listener)
}

/// Waits until stdin ends.
pub(crate) async fn end() {
    // Whatever the end, the parent has caused it.
    let _ = tokio::io::stdin().read(&mut [0]).await;
}

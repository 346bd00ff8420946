//! A server with TLS, 40 ms away: its own process relays every connection, and holds back what passes either way.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use oci_proto::server::Server;
use oci_proto_tokio::layout::Layout;
use oci_proto_tokio::server::Options;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_rustls::TlsAcceptor;

use crate::content::REPOSITORY;
use crate::fallible::Fallible;
use crate::serve::{end, listen};

/// The time that bytes take one way.
const ONE_WAY: Duration = Duration::from_millis(20);

/// The file with the server's certificate.
pub(crate) const CERTIFICATE: &str = "certificate.pem";
/// The file with the number of connections so far.
pub(crate) const CONNECTIONS: &str = "connections";

/// Serves a layout with the protocols of `offer`, separated by commas, until stdin ends. Writes the two files into `notes`,
/// and prints the address of the relay on stdout.
pub(crate) fn serve(folder: &Path, offer: &str, notes: &Path) -> Fallible<()> {
    let layout = Layout::open(folder)?;
    let mut server = Server::new();
    for root in layout.roots() {
        let tag = root.ref_name().ok_or("a root has no name")?.parse()?;
        server.add(&REPOSITORY.parse()?, Some(&tag), root.descriptor(), &layout)?;
    }
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    fs::write(notes.join(CERTIFICATE), made.cert.pem())?;
    fs::write(notes.join(CONNECTIONS), "0")?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())?;
    let mut tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)?;
    tls.alpn_protocols = offer.split(',').map(|protocol| protocol.as_bytes().to_vec()).collect();
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let hidden = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let relayed = relay(listen().await?, hidden.local_addr()?, notes);
        let answered = answer(hidden, TlsAcceptor::from(Arc::new(tls)), Arc::new((server, layout)));
        tokio::select! {
            ended = relayed => ended,
            ended = answered => ended,
            () = end() => Ok(()),
        }
    })
}

async fn answer(listener: TcpListener, tls: TlsAcceptor, content: Arc<(Server, Layout)>) -> Fallible<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (tls, content) = (tls.clone(), content.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let service = service_fn(move |request: Request<Incoming>| {
                let content = content.clone();
                async move {
                    let (server, layout) = &*content;
                    Ok::<_, Infallible>(Options::default().respond(server, layout, request).await)
                }
            });
            let io = TokioIo::new(stream);
            // A client closes its connections as it likes.
            if is_h2 {
                let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
            } else {
                let _ = http1::Builder::new().serve_connection(io, service).await;
            }
        });
    }
}

async fn relay(listener: TcpListener, to: SocketAddr, notes: &Path) -> Fallible<()> {
    let mut connections = 0_u32;
    loop {
        let (near, _) = listener.accept().await?;
        connections += 1;
        fs::write(notes.join(CONNECTIONS), connections.to_string())?;
        tokio::spawn(async move {
            // The client's connection is established already; it learns of that one round trip later.
            sleep(2 * ONE_WAY).await;
            let far = TcpStream::connect(to).await?;
            near.set_nodelay(true)?;
            far.set_nodelay(true)?;
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            tokio::try_join!(late(near_in, far_out), late(far_in, near_out)).map(drop)
        });
    }
}

/// Passes bytes on after the time that they take.
async fn late(
    mut from: impl AsyncRead + Unpin + Send + 'static,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now() + ONE_WAY, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    });
    while let Some((due, bytes)) = receiver.recv().await {
        sleep_until(due).await;
        to.write_all(&bytes).await?;
    }
    to.shutdown().await
}

//! Serves content that does not change.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use oci_proto::server::Server;
use tokio::net::TcpListener;

use crate::server::blobs::Blobs;
use crate::server::body::ResponseBody;
use crate::server::content::send;
use crate::server::listen::{GRACE, listen};
use crate::server::options::Options;
use crate::server::visit::answer;

/// Serves a registry with the default [`Options`] until `shutdown` is ready. Requests in progress then have ten
/// seconds to finish. Nobody can push to it: see [`SharedRegistry`](crate::server::SharedRegistry) for one that takes
/// pushes.
///
/// # Errors
/// Returns an error if the listener fails permanently. A connection that fails or cannot be accepted is not
/// an error.
///
/// # Cancel safety
/// Dropping the future closes the listener and every connection at once.
pub async fn serve(
    listener: TcpListener,
    server: Arc<Server>,
    blobs: impl Blobs,
    shutdown: impl Future,
) -> io::Result<()> {
    Options::default().serve(listener, server, blobs, shutdown).await
}

impl Options {
    /// Serves a registry like [`serve`].
    ///
    /// # Errors
    /// Those of [`serve`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and every connection at once.
    pub async fn serve(
        self,
        listener: TcpListener,
        server: Arc<Server>,
        blobs: impl Blobs,
        shutdown: impl Future,
    ) -> io::Result<()> {
        let shared = Arc::new((self, server, blobs));
        let for_requests = shared.clone();
        listen(&shared.0, listener, shutdown, GRACE, move |peer, request| {
            let shared = for_requests.clone();
            async move {
                let (options, server, blobs) = &*shared;
                answer(options, Some(peer), request, async |head, body| {
                    (read(options, server, blobs, &head).await, body)
                })
                .await
            }
        })
        .await
    }

    /// Answers one request. Use this with your own listener, whose connections you limit.
    ///
    /// # Cancel safety
    /// Dropping the future drops only the response.
    pub async fn respond<B>(
        &self,
        server: &Server,
        blobs: &(impl Blobs + ?Sized),
        request: Request<B>,
    ) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
    {
        answer(self, None, request, async |head, body| (read(self, server, blobs, &head).await, body)).await
    }
}

async fn read(
    options: &Options,
    server: &Server,
    blobs: &(impl Blobs + ?Sized),
    head: &Parts,
) -> Response<ResponseBody> {
    let response = server.respond(head);
    send(options, head, response, |digest, range| async move { blobs.open(&digest, range).await }).await
}

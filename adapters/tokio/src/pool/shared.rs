//! HTTP/2.

use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::{Connected, Connection as _};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::connector::Stream;
use crate::fault::BoxError;
use crate::payload::Body;
use crate::pool::failed::{End, Failed};

/// The time without a frame after which a connection with requests is probed. A connection that is no longer answered
/// fails its requests then, and the next ones use another.
const PROBE_AFTER: Duration = Duration::from_secs(10);
/// The time within which a probe is answered.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// The number of bytes that a server may send before they are read: for one response, and for all.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// A connection with HTTP/2, which takes any number of requests at a time.
#[derive(Clone)]
pub(crate) struct Shared {
    sender: http2::SendRequest<Body>,
    connected: Arc<Connected>,
    end: End,
}

impl Shared {
    pub(crate) async fn open(stream: MaybeHttpsStream<Stream>) -> Result<Self, BoxError> {
        let connected = Arc::new(stream.connected());
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PROBE_AFTER)
            .keep_alive_timeout(PROBE_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(stream)
            .await?;
        Ok(Self { sender, connected, end: End::of(connection) })
    }

    pub(crate) fn is_usable(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(crate) async fn send(&mut self, mut request: Request<Body>) -> Result<Response<Incoming>, Failed> {
        // The URL says it.
        request.headers_mut().remove(HOST);
        let target = request.uri().clone();
        match self.sender.try_send_request(request).await {
            Ok(mut response) => {
                self.connected.get_extras(response.extensions_mut());
                Ok(response)
            }
            Err(error) => Err(Failed::new(error, target, &self.end)),
        }
    }
}

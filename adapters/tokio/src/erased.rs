//! Type erasure of transports, so that neither a client nor its driver is generic.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

use crate::fault::BoxError;
use crate::payload::Body;
use crate::transport::Transport;

/// The body of a response.
pub(crate) type ErasedBody = UnsyncBoxBody<Bytes, BoxError>;

/// The future of a response.
pub(crate) type ResponseFuture = Pin<Box<dyn Future<Output = Result<Response<ErasedBody>, BoxError>> + Send>>;

/// An object-safe [`Transport`].
pub(crate) trait ErasedTransport: Send + Sync {
    /// Sends a request with a clone of the transport. This runs the user's code.
    fn send(&self, request: Request<Body>) -> ResponseFuture;
}

pub(crate) fn erase(transport: impl Transport) -> Box<dyn ErasedTransport> {
    Box::new(Prototype(Mutex::new(transport)))
}

/// The transport that is cloned for each request. The mutex makes it `Sync`.
struct Prototype<T>(Mutex<T>);

impl<T: Transport> ErasedTransport for Prototype<T> {
    fn send(&self, request: Request<Body>) -> ResponseFuture {
        let transport = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            let response = transport.send(request).await?;
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}

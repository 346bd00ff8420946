//! In place of HTTP/2.

use std::convert::Infallible;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_rustls::MaybeHttpsStream;

use crate::connector::Stream;
use crate::fault::BoxError;
use crate::payload::Body;
use crate::pool::failed::Failed;

/// Without the feature `http2`, no connection takes several requests at a time.
#[derive(Clone)]
pub(crate) struct Shared(Infallible);

#[expect(clippy::unused_async, reason = "with HTTP/2, they wait")]
impl Shared {
    pub(crate) async fn open(_: MaybeHttpsStream<Stream>) -> Result<Self, BoxError> {
        Err("this client does not speak HTTP/2, and did not offer it".into())
    }

    pub(crate) fn is_usable(&self) -> bool {
        match self.0 {}
    }

    pub(crate) async fn send(&mut self, _: Request<Body>) -> Result<Response<Incoming>, Failed> {
        match self.0 {}
    }
}

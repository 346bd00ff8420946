//! Lists the tags of a repository over a `reqwest::Client`, for programs that have one already, with its own settings of
//! TLS and proxies.
//!
//! ```text
//! cargo run -p oci-proto-tokio --example over_reqwest -- registry.example/app
//! ```
#![expect(clippy::print_stdout, reason = "the tags")]

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::TryStreamExt as _;
use http::{Request, Response};
use hyper_util::client::legacy::connect::HttpInfo;
use oci_proto_tokio::oci_proto::FaultKind;
use oci_proto_tokio::{Body, Client, Settings};
use tower_service::Service;

/// A transport that sends requests with reqwest.
#[derive(Clone)]
pub(crate) struct OverReqwest(reqwest::Client);

impl OverReqwest {
    /// The session follows redirects and repeats requests itself, and verifies content as it was sent. Do not enable
    /// reqwest's features for compression.
    pub(crate) fn new(builder: reqwest::ClientBuilder) -> reqwest::Result<Self> {
        let builder = builder.redirect(reqwest::redirect::Policy::none()).retry(reqwest::retry::never());
        builder.build().map(Self)
    }

    /// Returns the kind of an error, if it was certainly an error of connecting: then any request may be repeated.
    pub(crate) fn classify(error: &(dyn Error + 'static)) -> Option<FaultKind> {
        let error = error.downcast_ref::<reqwest::Error>()?;
        error.is_connect().then_some(FaultKind::Connect)
    }
}

impl Service<Request<Body>> for OverReqwest {
    type Response = Response<reqwest::Body>;
    type Error = reqwest::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let client = self.0.clone();
        Box::pin(async move {
            let request = reqwest::Request::try_from(request.map(reqwest::Body::wrap))?;
            let mut response = Response::from(client.execute(request).await?);
            // Behind a proxy, that is the address of the proxy, not of the server.
            response.extensions_mut().remove::<HttpInfo>();
            Ok(response)
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // For this build of reqwest, which has none. One that was installed earlier will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let repository = std::env::args().nth(1).ok_or("usage: over_reqwest REGISTRY/REPOSITORY")?;
    let transport = OverReqwest::new(reqwest::Client::builder())?;
    let client = Client::with_transport(Settings::default(), transport, OverReqwest::classify)?;
    let mut tags = client.tags(&repository.parse()?, None);
    while let Some(tag) = tags.try_next().await? {
        println!("{tag}");
    }
    Ok(())
}

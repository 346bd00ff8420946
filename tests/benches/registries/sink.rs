//! A registry that takes everything and keeps nothing, optionally with delayed responses.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::runtime;
use tokio::time::sleep;

use crate::fallible::Fallible;
use crate::serve::{end, listen};

/// Takes uploads until stdin ends. Prints its address on stdout.
pub(crate) fn serve(delay: Duration) -> Fallible<()> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = listen().await?;
        let mut end = pin!(end());
        loop {
            let (stream, _) = tokio::select! {
                () = &mut end => return Ok(()),
                accepted = listener.accept() => accepted?,
            };
            stream.set_nodelay(true)?;
            let service = service_fn(move |request| respond(request, delay));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    })
}

async fn respond(request: Request<Incoming>, delay: Duration) -> Result<Response<Empty<Bytes>>, Infallible> {
    let status = match *request.method() {
        Method::GET => StatusCode::OK,
        Method::HEAD => StatusCode::NOT_FOUND,
        Method::POST => StatusCode::ACCEPTED,
        _ => StatusCode::CREATED,
    };
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    if !delay.is_zero() {
        sleep(delay).await;
    }
    let mut response = Response::new(Empty::new());
    *response.status_mut() = status;
    // oci-client requires it of every success.
    response.headers_mut().insert(LOCATION, http::HeaderValue::from_static("/v2/upload?state=1"));
    Ok(response)
}

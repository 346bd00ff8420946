//! Sends the responses of the core.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use oci_proto::Digest;
use oci_proto::server::{Body, Server, Unavailable};

use crate::server::blobs::Source;
use crate::server::body::ResponseBody;
use crate::server::options::Options;

/// Returns a response with its body, for which `open` has the bytes of a blob.
pub(super) async fn send<F>(
    options: &Options,
    request: &Parts,
    response: Response<Body>,
    open: impl FnOnce(Digest, Range<u64>) -> F,
) -> Response<ResponseBody>
where
    F: Future<Output = io::Result<Source>>,
{
    let (head, body) = response.into_parts();
    let (digest, range) = match body {
        Body::Blob { digest, range } => (digest, range),
        body => return Response::from_parts(head, in_memory(body)),
    };
    let size = range.end.saturating_sub(range.start);
    let begun = match open(digest.clone(), range).await {
        Ok(source) => ResponseBody::begin(source, size).await,
        Err(error) => Err(error),
    };
    match begun {
        Ok(body) => {
            let options = options.clone();
            let report = Box::new(move |error| options.report(digest, error));
            Response::from_parts(head, body.on_error(report))
        }
        Err(error) => {
            let reason = match error.kind() {
                io::ErrorKind::NotFound => Unavailable::Missing,
                _ => Unavailable::Unreadable,
            };
            let response = Server::respond_without(request, &digest, reason);
            options.report(digest, error);
            response.map(in_memory)
        }
    }
}

/// Returns a body that is not a blob.
pub(super) fn in_memory(body: Body) -> ResponseBody {
    ResponseBody::bytes(match body {
        Body::Bytes(bytes) => bytes,
        Body::Empty | Body::Blob { .. } => Bytes::new(),
    })
}

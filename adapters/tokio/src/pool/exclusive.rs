//! HTTP/1.1.

use http::header::HOST;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::client::legacy::connect::Connected;

use crate::payload::Body;
use crate::pool::failed::{End, Failed};

/// A connection with HTTP/1.1, which takes one request at a time.
pub(crate) struct Exclusive {
    sender: http1::SendRequest<Body>,
    connected: Connected,
    end: End,
}

impl Exclusive {
    pub(crate) fn new(sender: http1::SendRequest<Body>, connected: Connected, end: End) -> Self {
        Self { sender, connected, end }
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.sender.is_ready()
    }

    /// Waits until the connection is usable. Returns whether it is.
    pub(crate) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    pub(crate) async fn send(&mut self, mut request: Request<Body>) -> Result<Response<Incoming>, Failed> {
        let target = request.uri().clone();
        if !request.headers().contains_key(HOST)
            && let Some(host) = host(&target)
        {
            request.headers_mut().insert(HOST, host);
        }
        if !self.connected.is_proxied() {
            let path = target.path_and_query().cloned();
            *request.uri_mut() = path.unwrap_or(PathAndQuery::from_static("/")).into();
        }
        match self.sender.try_send_request(request).await {
            Ok(mut response) => {
                self.connected.get_extras(response.extensions_mut());
                Ok(response)
            }
            Err(error) => Err(Failed::new(error, target, &self.end)),
        }
    }
}

/// Returns the Host header of a request to a URL (RFC 9110, section 7.2).
fn host(uri: &Uri) -> Option<HeaderValue> {
    let default = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    let name = uri.host()?;
    match uri.port() {
        Some(port) if port.as_u16() != default => HeaderValue::try_from(format!("{name}:{port}")).ok(),
        _ => HeaderValue::try_from(name).ok(),
    }
}

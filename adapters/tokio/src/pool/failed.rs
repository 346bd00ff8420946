//! A request without a response, and a connection that has ended.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Uri};
use hyper::client::conn::TrySendError;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::payload::Body;

/// The time within which the task of a connection that takes no request ends. It may have to say goodbye first.
const GOODBYE: Duration = Duration::from_millis(100);

/// A request without a response.
pub(crate) enum Failed {
    /// None of the request was sent.
    NotTaken { request: Box<Request<Body>>, error: hyper::Error, end: End },
    /// Some of it may have been.
    Broken(hyper::Error),
}

impl Failed {
    /// Restores the URL of the request.
    pub(crate) fn new(mut error: TrySendError<Request<Body>>, target: Uri, end: &End) -> Self {
        let Some(mut request) = error.take_message() else { return Self::Broken(error.into_error()) };
        *request.uri_mut() = target;
        Self::NotTaken { request: Box::new(request), error: error.into_error(), end: end.clone() }
    }

    pub(crate) fn error(&self) -> &hyper::Error {
        match self {
            Self::NotTaken { error, .. } | Self::Broken(error) => error,
        }
    }
}

/// How a connection ends.
#[derive(Clone)]
pub(crate) struct End(watch::Receiver<Option<Arc<hyper::Error>>>);

impl End {
    /// Spawns the task that drives a connection.
    pub(crate) fn of(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Self {
        let (tell, told) = watch::channel(None);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tell.send_replace(Some(Arc::new(error)));
            }
        });
        Self(told)
    }

    /// Returns why a connection ended that did not take a request: the server may have refused the client's
    /// certificate. If the connection does not say, it is for the request's own `error`.
    pub(crate) async fn reason(mut self, error: hyper::Error) -> Arc<hyper::Error> {
        let told = timeout(GOODBYE, self.0.wait_for(Option::is_some)).await;
        let reason = told.ok().and_then(Result::ok).and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| Arc::new(error))
    }
}

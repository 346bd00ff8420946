//! The bytes of a request that was answered before they arrived.

use std::pin::Pin;

use tokio::runtime::Handle;

/// What is left of a request after its response, which is read in the background once the value is dropped. Otherwise
/// the connection would be reset, and the client might not see the response.
pub(super) struct Rest(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Rest {
    pub(super) fn new(read: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(Box::pin(read)))
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        if let (Some(read), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(read);
        }
    }
}

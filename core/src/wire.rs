//! The HTTP layer: endpoints, requests, statuses and exchanges.

pub(crate) mod endpoint;
pub(crate) mod error_body;
pub(crate) mod exchange;
pub(crate) mod head;
pub(crate) mod list;
pub(crate) mod origin;
pub(crate) mod percent;
pub(crate) mod redact;
pub(crate) mod request;
pub(crate) mod status;
pub(crate) mod target;

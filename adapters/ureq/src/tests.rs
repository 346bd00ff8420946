//! Tests of uploads and copies over loopback, some of which use internals, and of lost exchanges.

mod copy;
mod early_response;
mod lost;
pub(crate) mod upload;

//! Tests of uploads over loopback, some of which use internals, and of lost exchanges.

mod early_response;
mod lost;
mod upload;

//! Tests of internals: uploads, which no method of the client uses yet, and lost exchanges.

mod early_response;
mod lost;
mod upload;

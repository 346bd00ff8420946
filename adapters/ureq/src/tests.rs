//! Tests of internals: uploads, which no method of the client uses yet, and lost exchanges.

mod lost;
mod upload;

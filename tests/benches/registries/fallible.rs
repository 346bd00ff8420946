//! The result type of the benchmark.

use std::error::Error;

/// A result whose error ends the program with a message.
pub(crate) type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

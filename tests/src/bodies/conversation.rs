//! The body of the fuzz target `conversation`.

use crate::conversation::converse;

/// Nothing that is secret goes where it must not, and all that is started ends; the same input gives the
/// same run.
pub fn conversation(data: &[u8]) {
    assert_eq!(converse(data), converse(data), "the same input, and another run");
}

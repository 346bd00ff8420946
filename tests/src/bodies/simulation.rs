//! The body of the fuzz target `simulation`.

use crate::simulation::run;

/// Whatever registries, token servers, mirrors, networks and drivers do, a session keeps its promises: see
/// [`simulation`](crate::simulation). The same input gives the same run.
pub fn simulation(data: &[u8]) {
    assert_eq!(run(data), run(data), "the same input, and another run");
}

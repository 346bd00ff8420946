//! The body of the fuzz target `simulation`.

use crate::simulation::run::run;

/// A session keeps its contract whatever registries, token servers, mirrors, networks and drivers do: see
/// [`simulation`](crate::simulation). Equal inputs give equal runs.
pub fn simulation(data: &[u8]) {
    assert_eq!(run(data), run(data), "equal inputs must give equal runs");
}

//! The second run of each operation that writes, by another session, after all faults have stopped.

use std::collections::BTreeMap;

use oci_proto::{Config, Limits, OpId};

use crate::simulation::behaviour::Behaviour;
use crate::simulation::choices::Choices;
use crate::simulation::counts::Counts;
use crate::simulation::state::Simulation;
use crate::simulation::world::World;
use crate::simulation::writing::{Job, Written};
use crate::simulation::written::check_again;

/// Runs all transfers and uploads again. Each succeeds if its content is available, and sends nothing that is there.
pub(super) fn again(
    simulation: Simulation<'_, World<'_>>,
    config: &Config,
    written: &mut BTreeMap<OpId, Written>,
    counts: &mut Counts,
    said: &mut Vec<String>,
) {
    if written.is_empty() {
        return;
    }
    let mut config = config.clone();
    let Limits { max_attempts, walk_nodes, .. } = Limits::default();
    (config.limits.max_attempts, config.limits.walk_nodes) = (max_attempts, walk_nodes);
    let Simulation { mut answers, trace, now, .. } = simulation;
    answers.is_calm = true;
    let mut second = Simulation::new(config.clone(), answers, Behaviour::ORDERLY, Choices::new(&[]));
    (second.trace, second.now, second.writes) = (trace, now, true);
    second.trace.note(now, || "* all faults stop; another session".to_owned());
    let mut started = BTreeMap::new();
    let content = second.answers.content;
    for written in written.values_mut().filter(|written| !matches!(written.job, Job::Stream(..))) {
        written.listed = written.entries(&second.answers, content);
        started.insert(written.start(&mut second, content), written);
    }
    second.drive();
    second.end();
    for (op, watched) in &second.ops {
        check_again(started[op], *op, watched, &second.answers, &config.limits);
        *counts.entry("second runs").or_default() += 1;
    }
    said.append(&mut second.requests);
}

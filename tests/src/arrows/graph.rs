//! Cycles in a graph.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// For each strongly connected component, its shortest cycle: each node once, with an edge to the next one
/// and from the last to the first.
pub(super) fn cycles<N: Copy + Ord>(edges: impl Iterator<Item = (N, N)>) -> Vec<Vec<N>> {
    let mut next: BTreeMap<N, BTreeSet<N>> = BTreeMap::new();
    for (from, to) in edges {
        next.entry(from).or_default().insert(to);
    }
    let mut found: Vec<Vec<N>> = next.keys().filter_map(|start| shortest(&next, *start)).collect();
    found.sort_by_key(Vec::len);
    let mut known: BTreeSet<N> = BTreeSet::new();
    found.retain(|cycle| {
        let new = cycle.iter().all(|node| !known.contains(node));
        known.extend(cycle);
        new
    });
    found
}

/// The shortest path from a node back to itself.
fn shortest<N: Copy + Ord>(next: &BTreeMap<N, BTreeSet<N>>, start: N) -> Option<Vec<N>> {
    let mut came_from: BTreeMap<N, N> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for to in next.get(&node).into_iter().flatten() {
            if *to == start {
                let mut cycle = vec![node];
                while cycle[cycle.len() - 1] != start {
                    cycle.push(came_from[&cycle[cycle.len() - 1]]);
                }
                cycle.reverse();
                return Some(cycle);
            }
            if !came_from.contains_key(to) {
                came_from.insert(*to, node);
                queue.push_back(*to);
            }
        }
    }
    None
}

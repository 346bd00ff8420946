//! The three rules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::arrows::graph::cycles;
use crate::arrows::resolve::{From, Meaning, Target, Through, resolve};
use crate::arrows::tree::{Named, Tree};

/// The rules for one crate, in addition to those for every crate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules<'a> {
    /// The layers of the crate from the lowest up: none names items of a higher one. If there are layers,
    /// every file except the root belongs to one.
    pub layers: &'a [Layer<'a>],
    /// Pairs of layers that must not name each other's items.
    pub apart: &'a [(&'a str, &'a str)],
}

/// A layer of a crate.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Its name in messages.
    pub name: &'a str,
    /// Its files and directories, without `.rs`.
    pub holds: &'a [&'a str],
}

/// The result of a check.
#[derive(Debug, Default)]
pub struct Report {
    /// Every file of the crate.
    pub files: BTreeSet<PathBuf>,
    /// The files that each file depends on.
    pub edges: BTreeSet<(PathBuf, PathBuf)>,
    /// Violations: file, line, and remedy.
    pub violations: BTreeSet<String>,
}

impl Report {
    /// Adds the result of another check of the same package.
    pub fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        self.edges.extend(other.edges);
        self.violations.extend(other.violations);
    }
}

/// Checks a crate.
pub fn check(tree: &Tree, rules: &Rules<'_>) -> Report {
    let mut checker = Checker {
        tree,
        rules,
        associated: associated(tree),
        edges: BTreeMap::new(),
        report: Report { files: tree.files.iter().cloned().collect(), ..Report::default() },
    };
    for named in &tree.paths {
        checker.path(named);
    }
    checker.cycles();
    checker.layers();
    let names = |((from, _), (to, _)): &(Node, Node)| (tree.files[*from].clone(), tree.files[*to].clone());
    checker.report.edges = checker.edges.keys().map(names).collect();
    checker.report
}

/// A file, or its unit tests.
type Node = (usize, bool);

struct Checker<'a> {
    tree: &'a Tree,
    rules: &'a Rules<'a>,
    associated: BTreeMap<(usize, String, String), Vec<Node>>,
    /// The edges, each with the line and the path that first cause it.
    edges: BTreeMap<(Node, Node), (usize, String)>,
    report: Report,
}

impl Checker<'_> {
    fn path(&mut self, named: &Named) {
        let from = From::new(self.tree, named.module);
        for Target { meaning, through } in resolve(self.tree, from, &named.path) {
            if let Some(through) = &through {
                self.detour(from, named, &meaning, through);
            }
            match meaning {
                Meaning::Module(module) if named.glob => {
                    let node = (self.tree.modules[module].file, self.tree.modules[module].test);
                    self.edge(from, named, node);
                }
                Meaning::Item { module, name, test, part } => {
                    self.edge(from, named, (self.tree.modules[module].file, test));
                    let part = part.and_then(|part| self.associated.get(&(module, name, part)));
                    for node in part.cloned().unwrap_or_default() {
                        self.edge(from, named, node);
                    }
                }
                Meaning::Module(_) | Meaning::Elsewhere(_) => {}
            }
        }
    }

    /// Reports a path that goes through another file's import.
    fn detour(&mut self, from: From, named: &Named, meaning: &Meaning, through: &Through) {
        let module = &self.tree.modules[through.module];
        let (file, line) = (self.file(module.file), through.line);
        let defined = match meaning {
            Meaning::Module(module) => self.tree.modules[*module].path.clone(),
            Meaning::Item { module, name, .. } => format!("{}::{name}", self.tree.modules[*module].path),
            Meaning::Elsewhere(path) => path.join("::"),
        };
        let path = named.path.join("::");
        let text = format!(
            "{}:{}: `{path}` goes through the import of {} ({file}:{line}): name `{defined}`",
            self.file(from.file),
            named.line,
            module.path,
        );
        self.violation(text);
    }

    fn edge(&mut self, from: From, named: &Named, to: Node) {
        let own = to.0 == from.file || (named.test && !to.1 && from.tested == Some(to.0));
        if !own {
            let edge = ((from.file, named.test), to);
            self.edges.entry(edge).or_insert_with(|| (named.line, named.path.join("::")));
        }
    }

    fn cycles(&mut self) {
        for cycle in cycles(self.edges.keys().copied()) {
            let steps = (0..cycle.len()).map(|at| {
                let (from, to) = (cycle[at], cycle[(at + 1) % cycle.len()]);
                let (line, path) = &self.edges[&(from, to)];
                format!("{}:{line}: names `{path}` of {}", self.file(from.0), self.file(to.0))
            });
            let text = format!("a cycle:\n    {}", steps.collect::<Vec<_>>().join("\n    "));
            self.violation(text);
        }
    }

    fn layers(&mut self) {
        let rules = self.rules;
        if rules.layers.is_empty() {
            return;
        }
        for file in 1..self.tree.files.len() {
            if self.layer(file).is_none() {
                self.violation(format!("{}: belongs to no layer of its crate", self.file(file)));
            }
        }
        let mut violations = Vec::new();
        for (((from, is_test), (to, _)), (line, path)) in &self.edges {
            // A unit test may use fixtures from any layer.
            if *is_test {
                continue;
            }
            let (Some(below), Some(above)) = (self.layer(*from), self.layer(*to)) else { continue };
            let (lower, upper) = (rules.layers[below].name, rules.layers[above].name);
            let apart = rules.apart.iter().any(|pair| *pair == (lower, upper) || *pair == (upper, lower));
            if below < above || apart {
                let place = format!("{}:{line}", self.file(*from));
                let text = format!("{place}: `{path}`: the layer {lower} may not name items of {upper}");
                violations.push(text);
            }
        }
        for text in violations {
            self.violation(text);
        }
    }

    fn layer(&self, file: usize) -> Option<usize> {
        self.rules.layers.iter().position(|layer| is_within(&self.tree.files[file], layer.holds))
    }

    fn violation(&mut self, text: String) {
        self.report.violations.insert(text);
    }

    fn file(&self, file: usize) -> String {
        self.tree.files[file].display().to_string()
    }
}

/// The files in which `impl` blocks define functions, by the type's module, its name and the function's name.
fn associated(tree: &Tree) -> BTreeMap<(usize, String, String), Vec<Node>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for part in &tree.associated {
        for target in resolve(tree, From::new(tree, part.module), &part.of) {
            if let Meaning::Item { module, name, .. } = target.meaning {
                let node = (tree.modules[part.module].file, part.test);
                found.entry((module, name, part.name.clone())).or_default().push(node);
            }
        }
    }
    found
}

fn is_within(file: &Path, places: &[&str]) -> bool {
    places.iter().any(|place| file.starts_with(place) || file.with_extension("") == Path::new(place))
}

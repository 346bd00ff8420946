//! Resolves a path to the module that defines its item.

use std::collections::BTreeSet;

use crate::arrows::tree::{Entry, Import, Tree};

/// One meaning of a path.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) meaning: Meaning,
    /// The import of another file that the path goes through, if it does.
    pub(super) through: Option<Through>,
}

#[derive(Clone, Debug)]
pub(super) enum Meaning {
    Module(usize),
    /// An item of a module of this crate.
    Item {
        module: usize,
        name: String,
        test: bool,
        /// The rest of the path after the item: a variant, a function.
        part: Option<String>,
    },
    /// An item of another crate.
    Elsewhere(Vec<String>),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Through {
    pub(super) module: usize,
    pub(super) line: usize,
}

/// The location of a path, which decides visibility and whether an import is in another file.
#[derive(Clone, Copy, Debug)]
pub(super) struct From {
    pub(super) module: usize,
    pub(super) file: usize,
    /// The file whose tests these are.
    pub(super) tested: Option<usize>,
}

impl From {
    pub(super) fn new(tree: &Tree, module: usize) -> Self {
        let file = tree.modules[module].file;
        let mut above = tree.modules[module].test.then_some(module);
        while let Some(id) = above.filter(|id| tree.modules[*id].test) {
            above = tree.modules[id].parent;
        }
        Self { module, file, tested: above.map(|id| tree.modules[id].file) }
    }

    fn is_own(&self, file: usize) -> bool {
        self.file == file || self.tested == Some(file)
    }
}

/// Returns every meaning of a path in this crate, including items of other crates reached through this one.
pub(super) fn resolve(tree: &Tree, from: From, path: &[String]) -> Vec<Target> {
    Resolver { tree, from, open: BTreeSet::new() }.path(from.module, path)
}

struct Resolver<'a> {
    tree: &'a Tree,
    from: From,
    /// The imports being followed, to detect loops.
    open: BTreeSet<(usize, Vec<String>)>,
}

impl Resolver<'_> {
    fn path(&mut self, module: usize, path: &[String]) -> Vec<Target> {
        let mut rest = path;
        let mut start = None;
        while let [first, more @ ..] = rest {
            start = match (first.as_str(), start) {
                ("crate", None) => Some(0),
                ("self", None) => Some(module),
                ("super", at) => self.tree.modules[at.unwrap_or(module)].parent,
                _ => break,
            };
            rest = more;
        }
        let mut targets = match (start, rest) {
            (Some(module), _) => vec![Target { meaning: Meaning::Module(module), through: None }],
            (None, [first, more @ ..]) => {
                rest = more;
                self.name(module, first, true)
            }
            (None, []) => Vec::new(),
        };
        while let [name, more @ ..] = rest {
            if targets.iter().any(|target| matches!(target.meaning, Meaning::Module(_))) {
                targets.retain(|target| matches!(target.meaning, Meaning::Module(_)));
            }
            targets = targets.into_iter().flat_map(|target| self.within(target, name)).collect();
            rest = more;
        }
        targets
    }

    /// The meanings of `name` within a target.
    fn within(&mut self, target: Target, name: &str) -> Vec<Target> {
        let through = target.through;
        match target.meaning {
            Meaning::Module(module) => {
                let mut found = self.name(module, name, false);
                if found.is_empty() {
                    // Items defined by macros are not visible here.
                    let test = self.tree.modules[module].test;
                    let meaning = Meaning::Item { module, name: name.to_owned(), test, part: None };
                    found.push(Target { meaning, through: None });
                }
                found.into_iter().map(|it| Target { through: through.clone().or(it.through), ..it }).collect()
            }
            Meaning::Item { module, name: item, test, part } => {
                let part = part.or_else(|| Some(name.to_owned()));
                vec![Target { meaning: Meaning::Item { module, name: item, test, part }, through }]
            }
            Meaning::Elsewhere(mut path) => {
                path.push(name.to_owned());
                vec![Target { meaning: Meaning::Elsewhere(path), through }]
            }
        }
    }

    fn name(&mut self, module: usize, name: &str, in_scope: bool) -> Vec<Target> {
        let tree = self.tree;
        let mut targets = Vec::new();
        for entry in tree.modules[module].names.get(name).into_iter().flatten() {
            let meaning = match entry {
                Entry::Module(id) => Meaning::Module(*id),
                Entry::Item { test } => {
                    let test = *test || tree.modules[module].test;
                    Meaning::Item { module, name: name.to_owned(), test, part: None }
                }
                Entry::Import(import) => {
                    if self.sees(module, import, in_scope) && self.open.insert((module, import.path.clone()))
                    {
                        targets.extend(self.import(module, import));
                        self.open.remove(&(module, import.path.clone()));
                    }
                    continue;
                }
            };
            targets.push(Target { meaning, through: None });
        }
        if targets.is_empty() {
            for glob in &tree.modules[module].globs {
                if !self.sees(module, glob, in_scope) || !self.open.insert((module, glob.path.clone())) {
                    continue;
                }
                for of in self.path(module, &glob.path) {
                    let Meaning::Module(of) = of.meaning else { continue };
                    let found = self.name(of, name, false);
                    let own = self.from.is_own(tree.modules[module].file);
                    let glob = Through { module, line: glob.line };
                    targets.extend(found.into_iter().map(|it| Target {
                        through: if own { it.through } else { Some(glob.clone()) },
                        ..it
                    }));
                }
                self.open.remove(&(module, glob.path.clone()));
            }
        }
        targets
    }

    /// Follows an import. A further import on the way is checked where it is written.
    fn import(&mut self, module: usize, import: &Import) -> Vec<Target> {
        let own = self.from.is_own(self.tree.modules[module].file);
        let through = (!own).then_some(Through { module, line: import.line });
        let mut targets = self.path(module, &import.path);
        if targets.is_empty() {
            targets.push(Target { meaning: Meaning::Elsewhere(import.path.clone()), through: None });
        }
        targets.into_iter().map(|target| Target { through: through.clone(), ..target }).collect()
    }

    fn sees(&self, module: usize, import: &Import, in_scope: bool) -> bool {
        if import.in_block {
            return in_scope;
        }
        if !import.private {
            return true;
        }
        let mut above = Some(self.from.module);
        while let Some(id) = above {
            if id == module {
                return true;
            }
            above = self.tree.modules[id].parent;
        }
        false
    }
}

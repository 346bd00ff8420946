//! The modules of a crate with their definitions, imports and paths.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The parts of a crate that the rules concern.
#[derive(Debug, Default)]
pub struct Tree {
    pub(super) files: Vec<PathBuf>,
    /// The root comes first.
    pub(super) modules: Vec<Module>,
    pub(super) paths: Vec<Named>,
    pub(super) associated: Vec<Associated>,
}

#[derive(Debug)]
pub(super) struct Module {
    /// The path from the crate root: `crate::a::b`.
    pub(super) path: String,
    pub(super) parent: Option<usize>,
    pub(super) file: usize,
    /// Whether it is built for tests only.
    pub(super) test: bool,
    pub(super) names: BTreeMap<String, Vec<Entry>>,
    pub(super) globs: Vec<Import>,
}

/// One meaning of a name in a module.
#[derive(Debug)]
pub(super) enum Entry {
    Module(usize),
    Item { test: bool },
    Import(Import),
}

#[derive(Clone, Debug)]
pub(super) struct Import {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
    /// Whether it is visible only in its module and below.
    pub(super) private: bool,
    /// Whether it is visible only in a block.
    pub(super) in_block: bool,
}

/// A path in the code.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) module: usize,
    pub(super) path: Vec<String>,
    pub(super) line: usize,
    /// Whether it ends in `::*`.
    pub(super) glob: bool,
    pub(super) test: bool,
}

/// A function, constant or type in an inherent `impl` block.
#[derive(Debug)]
pub(super) struct Associated {
    pub(super) module: usize,
    pub(super) of: Vec<String>,
    pub(super) name: String,
    pub(super) test: bool,
}

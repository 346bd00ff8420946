//! Reads a crate from its root, file by file, like the compiler.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::arrows::names;
use crate::arrows::tree::{Entry, Module, Tree};

/// Returns the text of a file, if the file exists.
pub type Source<'a> = dyn Fn(&Path) -> Option<String> + 'a;

/// Reads the crate whose root is the file `root`.
///
/// # Errors
///
/// Returns the file that is missing or not valid Rust.
pub fn read(root: &Path, source: &Source<'_>) -> Result<Tree, String> {
    let mut reader = Reader { tree: Tree::default(), source };
    let text = source(root).ok_or_else(|| format!("{}: cannot be read", root.display()))?;
    reader.file("crate", root, &text, &Place { parent: None, test: false, children: folder_of(root) })?;
    Ok(reader.tree)
}

struct Reader<'a> {
    tree: Tree,
    source: &'a Source<'a>,
}

/// The location of a file in the tree of modules.
struct Place {
    parent: Option<usize>,
    test: bool,
    /// The directory of the modules that the file declares.
    children: PathBuf,
}

impl Reader<'_> {
    fn file(&mut self, path: &str, file: &Path, text: &str, place: &Place) -> Result<usize, String> {
        let syntax = syn::parse_file(text)
            .map_err(|error| format!("{}:{}: {error}", file.display(), error.span().start().line))?;
        self.tree.files.push(file.to_owned());
        let id = self.module(path, place.parent, self.tree.files.len() - 1, place.test);
        self.items(id, &syntax.items, &place.children)?;
        Ok(id)
    }

    fn module(&mut self, path: &str, parent: Option<usize>, file: usize, test: bool) -> usize {
        let (names, globs) = (BTreeMap::new(), Vec::new());
        self.tree.modules.push(Module { path: path.to_owned(), parent, file, test, names, globs });
        self.tree.modules.len() - 1
    }

    fn items(&mut self, id: usize, items: &[syn::Item], children: &Path) -> Result<(), String> {
        names::collect(&mut self.tree, id, items);
        for item in items {
            let syn::Item::Mod(item) = item else { continue };
            let name = names::text(&item.ident);
            let Module { path, file, test, .. } = &self.tree.modules[id];
            let (path, parent, test) =
                (format!("{path}::{name}"), *file, *test || names::is_for_tests(&item.attrs));
            let child = if let Some((_, items)) = &item.content {
                let child = self.module(&path, Some(id), parent, test);
                self.items(child, items, &children.join(&name))?;
                child
            } else {
                let (file, content, children) = self.find(item, parent, &children.join(&name))?;
                self.file(&path, &file, &content, &Place { parent: Some(id), test, children })?
            };
            self.tree.modules[id].names.entry(name).or_default().push(Entry::Module(child));
        }
        Ok(())
    }

    /// Finds the file of a module that `declared_in` declares: its path, its text, and the directory of its
    /// children.
    fn find(
        &self,
        module: &syn::ItemMod,
        declared_in: usize,
        stem: &Path,
    ) -> Result<(PathBuf, String, PathBuf), String> {
        let candidates = match names::path_attribute(&module.attrs) {
            Some(given) => {
                let folder = folder_of(&self.tree.files[declared_in]);
                let file = folder.join(given);
                let children = folder_of(&file);
                vec![(file, children)]
            }
            None => {
                vec![(stem.with_extension("rs"), stem.to_owned()), (stem.join("mod.rs"), stem.to_owned())]
            }
        };
        let missing = format!("{}: no such file", candidates[0].0.display());
        let found = candidates
            .into_iter()
            .find_map(|(file, children)| (self.source)(&file).map(|text| (file, text, children)));
        found.ok_or(missing)
    }
}

fn folder_of(file: &Path) -> PathBuf {
    file.parent().map(Path::to_owned).unwrap_or_default()
}

//! The contents of a module's syntax: definitions, imports, paths.

use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{
    Attribute, Block, Expr, ExprMethodCall, Ident, ImplItem, Item, ItemImpl, ItemMod, ItemUse, Lit, Meta,
    Type, UseTree,
};

use crate::arrows::tree::{Associated, Entry, Import, Named, Tree};

/// Collects everything from the items of the module `module`, except for its child modules.
pub(super) fn collect(tree: &mut Tree, module: usize, items: &[Item]) {
    let test = tree.modules[module].test;
    let mut collector = Collector { tree, module, test, blocks: 0, impl_of: None };
    for item in items {
        collector.define(item);
        collector.visit_item(item);
    }
}

/// An identifier without the prefix of a raw one.
pub(super) fn text(ident: &Ident) -> String {
    ident.to_string().trim_start_matches("r#").to_owned()
}

/// Whether an item is built for tests only.
pub(super) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let words = list.tokens.to_string();
            let mut words = words.split(|c: char| !c.is_alphanumeric() && c != '"');
            words.clone().any(|word| word == "test") && !words.any(|word| word == "not")
        }
        _ => false,
    })
}

/// The file that an attribute names for a module.
pub(super) fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}

struct Collector<'a> {
    tree: &'a mut Tree,
    module: usize,
    test: bool,
    /// The number of enclosing blocks.
    blocks: usize,
    /// The type of the enclosing `impl` block, for which `Self` stands.
    impl_of: Option<Vec<String>>,
}

impl Collector<'_> {
    fn define(&mut self, item: &Item) {
        let ident = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::TraitAlias(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            Item::Macro(item) => match &item.ident {
                Some(ident) => ident,
                None => return,
            },
            _ => return,
        };
        let test = self.test || is_for_tests(attributes(item));
        self.enter(text(ident), Entry::Item { test });
    }

    fn enter(&mut self, name: String, entry: Entry) {
        self.tree.modules[self.module].names.entry(name).or_default().push(entry);
    }

    fn path(&mut self, path: Vec<String>, line: usize, glob: bool) {
        let (module, test) = (self.module, self.test);
        self.tree.paths.push(Named { module, path, line, glob, test });
    }

    fn import(&mut self, tree: &UseTree, prefix: &[String], private: bool) {
        let with = |ident: &Ident| [prefix, &[text(ident)]].concat();
        let (ident, name, path) = match tree {
            UseTree::Path(path) => return self.import(&path.tree, &with(&path.ident), private),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.import(tree, prefix, private));
            }
            UseTree::Glob(glob) => {
                let line = glob.star_token.span.start().line;
                let import = Import { path: prefix.to_owned(), line, private, in_block: self.blocks > 0 };
                self.tree.modules[self.module].globs.push(import);
                return self.path(prefix.to_owned(), line, true);
            }
            UseTree::Name(name) if name.ident == "self" => {
                (&name.ident, prefix.last().cloned().unwrap_or_default(), prefix.to_owned())
            }
            UseTree::Name(name) => (&name.ident, text(&name.ident), with(&name.ident)),
            UseTree::Rename(rename) if rename.ident == "self" => {
                (&rename.ident, text(&rename.rename), prefix.to_owned())
            }
            UseTree::Rename(rename) => (&rename.ident, text(&rename.rename), with(&rename.ident)),
        };
        let line = ident.span().start().line;
        if name != "_" {
            let import = Import { path: path.clone(), line, private, in_block: self.blocks > 0 };
            self.enter(name, Entry::Import(import));
        }
        self.path(path, line, false);
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let outside = self.test;
        self.test |= is_for_tests(attributes(item));
        visit::visit_item(self, item);
        self.test = outside;
    }

    /// A module has its own collector; a module within a function counts as part of it.
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if self.blocks > 0 {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            let private = matches!(item.vis, syn::Visibility::Inherited);
            self.import(&item.tree, &[], private);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let outside = self.impl_of.take();
        if let Type::Path(of) = &*item.self_ty {
            let of: Vec<_> = of.path.segments.iter().map(|segment| text(&segment.ident)).collect();
            if item.trait_.is_none() {
                for item in &item.items {
                    let ident = match item {
                        ImplItem::Fn(item) => &item.sig.ident,
                        ImplItem::Const(item) => &item.ident,
                        ImplItem::Type(item) => &item.ident,
                        _ => continue,
                    };
                    let (module, name, test) = (self.module, text(ident), self.test);
                    self.tree.associated.push(Associated { module, of: of.clone(), name, test });
                }
            }
            self.impl_of = Some(of);
        }
        visit::visit_item_impl(self, item);
        self.impl_of = outside;
    }

    fn visit_block(&mut self, block: &'ast Block) {
        self.blocks += 1;
        visit::visit_block(self, block);
        self.blocks -= 1;
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none()
            && let Some(first) = path.segments.first()
        {
            let line = first.ident.span().start().line;
            let mut names: Vec<_> = path.segments.iter().map(|segment| text(&segment.ident)).collect();
            if names[0] == "Self"
                && let Some(of) = &self.impl_of
            {
                names.splice(..1, of.iter().cloned());
            }
            self.path(names, line, false);
        }
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if let (Expr::Path(receiver), Some(of)) = (&*call.receiver, &self.impl_of)
            && receiver.path.is_ident("self")
        {
            let path = [&of[..], &[text(&call.method)]].concat();
            self.path(path, call.method.span().start().line, false);
        }
        visit::visit_expr_method_call(self, call);
    }

    /// The tokens of macros and attributes: names separated by `::` form a path.
    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        self.tokens(tokens.clone());
    }
}

impl Collector<'_> {
    fn tokens(&mut self, tokens: TokenStream) {
        let mut open: Option<(Vec<String>, usize)> = None;
        let mut before = Before::Other;
        for token in tokens {
            let now = match &token {
                TokenTree::Ident(ident) => {
                    match (&before, &mut open) {
                        (Before::Colons, Some((path, _))) => path.push(text(ident)),
                        // A field, a method, or a name of another crate.
                        (Before::Dot | Before::Colons, _) => {}
                        _ => {
                            self.close(open.take());
                            open = Some((vec![text(ident)], ident.span().start().line));
                        }
                    }
                    Before::Other
                }
                TokenTree::Punct(punct) => match (punct.as_char(), punct.spacing(), &before) {
                    (':', Spacing::Joint, _) => Before::Colon,
                    (':', _, Before::Colon) => Before::Colons,
                    (mark, ..) => {
                        self.close(open.take());
                        // Two dots are a range or the rest of a struct, and a path may follow.
                        if mark == '.' && !matches!(before, Before::Dot) {
                            Before::Dot
                        } else {
                            Before::Other
                        }
                    }
                },
                TokenTree::Group(group) => {
                    self.close(open.take());
                    self.tokens(group.stream());
                    Before::Other
                }
                TokenTree::Literal(_) => {
                    self.close(open.take());
                    Before::Other
                }
            };
            before = now;
        }
        self.close(open);
    }

    fn close(&mut self, path: Option<(Vec<String>, usize)>) {
        // A single name may also be a field, a variable or a keyword of the macro.
        if let Some((mut path, line)) = path
            && path.len() > 1
        {
            if path[0] == "Self"
                && let Some(of) = &self.impl_of
            {
                path.splice(..1, of.iter().cloned());
            }
            self.path(path, line, false);
        }
    }
}

/// The kind of token before another one.
enum Before {
    Colon,
    Colons,
    Dot,
    Other,
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

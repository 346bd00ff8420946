use std::path::Path;

use crate::arrows::check::{Layer, Report, Rules, check};
use crate::arrows::read::read;

const LIB: &str = "src/lib.rs";

/// Checks a crate of the given files; the first is the root.
fn report(files: &[(&str, &str)], rules: &Rules<'_>) -> Report {
    let text = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found.map(|(_, text)| (*text).to_owned())
    };
    let tree = read(Path::new(files[0].0), &text).unwrap();
    check(&tree, rules)
}

fn violations(files: &[(&str, &str)]) -> Vec<String> {
    report(files, &Rules::default()).violations.into_iter().collect()
}

#[track_caller]
fn assert_none(files: &[(&str, &str)]) {
    assert_eq!(violations(files), [""; 0]);
}

#[track_caller]
fn assert_one(files: &[(&str, &str)], parts: &[&str]) {
    let violations = violations(files);
    assert_eq!(violations.len(), 1, "{violations:#?}");
    for part in parts {
        assert!(violations[0].contains(part), "no {part:?} in {}", violations[0]);
    }
}

#[test]
fn imports_from_the_defining_module_are_edges_and_not_violations() {
    let files = [
        (LIB, "mod a; mod b; pub use b::user;"),
        ("src/a.rs", "pub struct Thing;"),
        ("src/b.rs", "use crate::a::Thing;\npub fn user(_: Thing) {}"),
    ];
    assert_none(&files);
    let report = report(&files, &Rules::default());
    let edges: Vec<_> =
        report.edges.iter().map(|(from, to)| (from.to_str().unwrap(), to.to_str().unwrap())).collect();
    assert_eq!(edges, [("src/b.rs", "src/a.rs"), (LIB, "src/b.rs")]);
    assert_eq!(report.files.len(), 3);
}

#[test]
fn an_import_through_the_root_is_a_violation() {
    let files = [
        (LIB, "mod a; mod b;\npub use a::Thing;"),
        ("src/a.rs", "pub struct Thing;"),
        ("src/b.rs", "\nuse crate::Thing;"),
    ];
    assert_one(&files, &["src/b.rs:2: `crate::Thing`", "src/lib.rs:2", "name `crate::a::Thing`"]);
}

#[test]
fn an_import_through_a_reexport_is_a_violation() {
    let files = [
        (LIB, "mod a; mod b;"),
        ("src/a.rs", "mod inner; pub use inner::Thing;"),
        ("src/a/inner.rs", "pub struct Thing;"),
        ("src/b.rs", "use crate::a::{self, Thing as Other};\nfn make() -> a::Thing { a::Thing }"),
    ];
    let violations = violations(&files);
    assert_eq!(violations.len(), 2, "{violations:#?}");
    assert!(violations[0].contains("src/b.rs:1: `crate::a::Thing`"), "{violations:#?}");
    assert!(violations[0].contains("name `crate::a::inner::Thing`"), "{violations:#?}");
    assert!(violations[1].contains("src/b.rs:2: `a::Thing`"), "{violations:#?}");
}

#[test]
fn a_chain_of_reexports_is_a_violation() {
    let files = [
        (LIB, "mod a;\npub use a::Thing;"),
        ("src/a.rs", "mod inner; pub use inner::Thing;"),
        ("src/a/inner.rs", "pub struct Thing;"),
    ];
    assert_one(&files, &["src/lib.rs:2: `a::Thing`", "name `crate::a::inner::Thing`"]);
}

#[test]
fn an_import_through_a_glob_is_a_violation() {
    let files = [
        (LIB, "mod a; mod b;"),
        ("src/a.rs", "mod inner; pub use inner::*;"),
        ("src/a/inner.rs", "pub struct Thing;"),
        ("src/b.rs", "use crate::a::Thing;"),
    ];
    assert_one(&files, &["src/b.rs:1: `crate::a::Thing`", "name `crate::a::inner::Thing`"]);
}

#[test]
fn an_import_of_another_crate_through_the_parent_is_a_violation() {
    let files = [(LIB, "mod a;\nuse std::sync::Arc;\nstruct Own(Arc<u8>);"), ("src/a.rs", "use super::Arc;")];
    assert_one(&files, &["src/a.rs:1: `super::Arc`", "name `std::sync::Arc`"]);
}

#[test]
fn two_files_that_import_each_other_are_a_cycle() {
    let files = [
        (LIB, "mod a; mod b;"),
        ("src/a.rs", "use crate::b::B;\npub struct A(B);"),
        ("src/b.rs", "\nuse super::a;\npub struct B(Option<Box<a::A>>);"),
    ];
    assert_one(&files, &["a cycle", "src/a.rs:1: names `crate::b::B`", "src/b.rs:3: names `a::A`"]);
}

#[test]
fn a_longer_cycle_is_found() {
    let files = [
        (LIB, "mod a; mod b; mod c;"),
        ("src/a.rs", "use crate::b::B; pub struct A(B);"),
        ("src/b.rs", "use crate::c::C; pub struct B(C);"),
        ("src/c.rs", "use crate::a::A; pub struct C(Box<A>);"),
    ];
    assert_one(&files, &["a cycle", "src/a.rs:1", "src/b.rs:1", "src/c.rs:1"]);
}

#[test]
fn a_parent_and_its_child_can_be_a_cycle_and_a_declaration_is_not_an_edge() {
    let child = ("src/a/child.rs", "use crate::a::A; pub struct Child(A);");
    assert_none(&[(LIB, "mod a;"), ("src/a.rs", "mod child; pub struct A;"), child]);
    let parent = ("src/a.rs", "mod child; pub use child::Child; pub struct A;");
    assert_one(&[(LIB, "mod a;"), parent, child], &["a cycle", "`child::Child`", "`crate::a::A`"]);
}

#[test]
fn paths_in_code_are_edges() {
    for code in [
        "fn f() { let _ = crate::b::make(); }",
        "fn f(_: &[crate::b::B]) {}",
        "fn f() -> impl Iterator<Item = crate::b::B> { None.into_iter() }",
        "fn f() -> bool { matches!(1, crate::b::ONE) }",
        "fn f() { println!(\"{}\", 0 + crate::b::ONE); }",
        "fn f() { let _ = vec![0..crate::b::ONE]; }",
        "fn f(n: u8) { match n { crate::b::ONE => {} _ => {} } }",
        "fn f() { use crate::b; b::make(); }",
        "#[derive(Args)] struct F { #[arg(value_parser = crate::b::make)] f: u8 }",
        "impl crate::b::Trait for u8 {}",
        "fn f() { <u8 as crate::b::Trait>::g(); }",
        "macro_rules! f { () => { $crate::b::make() } }",
        "use crate::b::B as Other;",
        "use crate::b::Choice::First;",
        "use crate::b::*;",
    ] {
        let code = format!("pub struct A;\n{code}");
        let b = "use crate::a::A;\npub fn make() -> A { A }\npub const ONE: u8 = 1;\npub trait Trait {}";
        let files = [(LIB, "mod a; mod b;"), ("src/a.rs", &*code), ("src/b.rs", b)];
        assert_one(&files, &["a cycle", "src/a.rs:2: names `", "src/b.rs:1: names `crate::a::A`"]);
    }
}

#[test]
fn functions_defined_in_another_file_than_their_type_are_edges() {
    for call in ["Self::more()", "A::more()", "self.more()"] {
        let a = format!("mod more;\npub struct A;\nimpl A {{ fn start(&self) {{ {call}; }} }}");
        let more = "use crate::a::A; impl A { pub fn more(&self) {} }";
        let files = [(LIB, "mod a;"), ("src/a.rs", &*a), ("src/a/more.rs", more)];
        assert_one(&files, &["a cycle", "src/a.rs:3: names `", "src/a/more.rs:1"]);
    }
}

#[test]
fn fields_methods_and_names_of_other_crates_are_not_edges() {
    let a = "use std::fmt; use other::b::B;\nfn f(x: B) -> fmt::Result { x.b.make(); ::b::make(); dbg!(x.b, ::b::make()) }";
    let b = "use crate::a::A; pub fn make() -> A {}";
    assert_none(&[(LIB, "mod a; mod b;"), ("src/a.rs", a), ("src/b.rs", b)]);
}

#[test]
fn unit_tests_may_use_the_imports_of_the_file_under_test() {
    let files = [
        (LIB, "mod a; mod b;"),
        ("src/a.rs", "use crate::b::B; pub struct A(B);\n#[cfg(test)] mod tests;"),
        ("src/a/tests.rs", "use super::*; fn f() -> A { A(B::new()) }"),
        (
            "src/b.rs",
            "pub struct B;\n#[cfg(test)] mod tests { use super::*; use crate::a::A; fn f(_: A, _: B) {} }",
        ),
    ];
    assert_none(&files);
}

#[test]
fn the_rules_apply_to_unit_tests() {
    let files = [
        (LIB, "mod a; mod b;\npub use a::A;"),
        ("src/a.rs", "pub struct A;"),
        ("src/b.rs", "#[cfg(test)] mod tests {\n use crate::A;\n}"),
    ];
    assert_one(&files, &["src/b.rs:2: `crate::A`", "name `crate::a::A`"]);
}

#[test]
fn layers_depend_on_lower_ones_only() {
    let layers = [
        Layer { name: "ground", holds: &["src/ground"] },
        Layer { name: "client", holds: &["src/client", "src/driver"] },
        Layer { name: "server", holds: &["src/server"] },
    ];
    let rules = Rules { layers: &layers, apart: &[("client", "server")] };
    let found = |ground, client, server| {
        let files = [
            (LIB, "mod ground; mod client; mod server;"),
            ("src/ground.rs", "pub mod floor; pub struct G;"),
            ("src/ground/floor.rs", ground),
            ("src/client.rs", client),
            ("src/server.rs", server),
        ];
        report(&files, &rules).violations.into_iter().collect::<Vec<_>>()
    };
    let client = "use crate::ground::G; pub struct C;";
    assert_eq!(found("", client, "use crate::ground::G; pub struct S;"), [""; 0]);
    assert_eq!(
        found("\nuse crate::client::C;", "pub struct C;", ""),
        ["src/ground/floor.rs:2: `crate::client::C`: the layer ground may not name items of client"]
    );
    assert_eq!(
        found("", client, "use crate::client::C;"),
        ["src/server.rs:1: `crate::client::C`: the layer server may not name items of client"]
    );
    assert_eq!(
        found("", "use crate::server::S;", "pub struct S;"),
        ["src/client.rs:1: `crate::server::S`: the layer client may not name items of server"]
    );
}

#[test]
fn a_file_without_a_layer_is_a_violation() {
    let layers = [Layer { name: "ground", holds: &["src/ground"] }];
    let files = [(LIB, "mod ground; mod attic;"), ("src/ground.rs", ""), ("src/attic.rs", "")];
    let report = report(&files, &Rules { layers: &layers, ..Rules::default() });
    assert_eq!(
        report.violations.into_iter().collect::<Vec<_>>(),
        ["src/attic.rs: belongs to no layer of its crate"]
    );
}

#[test]
fn a_missing_file_and_invalid_syntax_are_errors() {
    let read = |text: &'static str| {
        let source = move |path: &Path| (path == Path::new(LIB)).then(|| text.to_owned());
        read(Path::new(LIB), &source).map(|_| ()).unwrap_err()
    };
    assert_eq!(read("mod a;"), "src/a.rs: no such file");
    assert!(read("\nfn (").starts_with("src/lib.rs:2: "));
}

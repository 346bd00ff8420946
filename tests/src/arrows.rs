//! Checks the imports in every crate against three rules.
//!
//! 1. A name from the same crate is imported from the module that defines it, never through another module's
//!    import.
//! 2. No two files depend on each other, directly or through a cycle.
//! 3. If a crate has layers, no layer depends on a higher one.
//!
//! A file depends on another one if it names an item that the other defines: in a `use`, in any path in its
//! code, or in the tokens of a macro. Method calls count if they are on `self` and the method is defined in a
//! different file from its type. Declaring a module is not a dependency. The unit tests of a file count as a
//! separate file, which may use the imports of the file under test.
#![expect(clippy::exhaustive_structs, reason = "constructed and read by the test of the workspace")]

mod check;
mod graph;
mod names;
mod read;
mod resolve;
mod tree;
mod workspace;

#[cfg(test)]
mod tests;

pub use check::{Layer, Report, Rules, check};
pub use read::{Source, read};
pub use tree::Tree;
pub use workspace::{Package, packages};

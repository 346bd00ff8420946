//! Input made to exhaust: each ends, soon, within little memory, with an error that says what and where.
//!
//! What is counted is what was asked for and what was taken, since time and memory follow from them.

mod chains;
mod documents;
mod drive;
mod endless;
mod headers;
mod registries;

//! A simulated world: a session and its driver, registries, token servers, storages and mirrors, and a network
//! between them with a clock of its own. Everything that happens is drawn from bytes.
//!
//! [`run`] holds a whole conversation: operations of every sort on several registries, with trouble that passes
//! and, in every other run, lies. What is held to always:
//!
//! - an operation ends once, and says nothing and asks for nothing while it is paused or after its end;
//! - no more requests are out than the limits say, none is sent to a server that asked to be left alone, and none
//!   more often than its tries, its redirects and its challenges allow;
//! - `Wait` is for something that is to come, and no later than the next try;
//! - each byte of a blob comes once and in order, and what is done, verified or stored is right; a document is
//!   stored after all that it names;
//! - a walk says what a recursion over the same content says, as far as it comes;
//! - what is secret goes where it may and nowhere else, and is never shown;
//! - whoever was told the truth, but for trouble that passes, gets all that there is;
//! - the same bytes give the same run.

mod accounts;
mod answers;
mod carried;
mod choices;
mod content;
mod driver;
mod expected;
mod ledger;
pub mod model;
mod odd;
mod party;
mod passing;
mod registry;
mod run;
mod trace;
mod watched;
mod whims;
mod world;

use std::collections::BTreeMap;

pub use answers::{Answers, Asked};
pub use choices::Choices;
pub use content::{Content, PLATFORMS};
pub use driver::Simulation;
pub use registry::Registry;
pub use run::{Run, drop_after, run, traced};
pub use watched::Watched;

/// How often something happened.
pub type Counts = BTreeMap<&'static str, usize>;

/// What a driver may do besides carrying requests out.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Manners {
    /// Pauses and resumes, is dropped and comes back, answers late, lets time pass. None of it changes
    /// what an operation says.
    pub interrupts: bool,
    /// Cancels operations, sets deadlines, and fails requests.
    pub ends: bool,
}

impl Manners {
    /// Carries requests out, in any order and any pieces, and does nothing else.
    pub const PLAIN: Self = Self { interrupts: false, ends: false };
    /// Does also what must change nothing.
    pub const RESTLESS: Self = Self { interrupts: true, ends: false };
    /// Does everything.
    pub const ROUGH: Self = Self { interrupts: true, ends: true };
}

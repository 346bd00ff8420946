//! The session: operations go in; exchanges, questions and events come out.

pub(crate) mod addresses;
pub(crate) mod avoided;
pub(crate) mod call;
pub(crate) mod lanes;
pub(crate) mod output;
pub(crate) mod retry;
pub(crate) mod running;
pub(crate) mod task;

pub(crate) mod state;

mod attempt;
mod drive;
mod fetch;
mod lists;
mod mirrors;
mod pairs;
mod redact;
mod schedule;
mod send;
mod settle;
mod start;

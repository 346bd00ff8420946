//! Properties of the session, with generated registries and arbitrary drivers.

mod answers;
mod apart;
mod logins;
mod misuse;
mod pairs;
mod plan;
mod questions;
mod served;
mod shown;
mod side;
mod swapped;
mod transfers;
mod uploads;
mod walks;

//! Properties of the session, over generated registries and everything that a driver may do.

mod answers;
mod logins;
mod plan;
mod shown;
mod walks;

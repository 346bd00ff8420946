//! Who asks: credentials, and what they are for.

mod credentials;

pub use credentials::{Credentials, CredentialsQuery, InvalidUsername, Secret};

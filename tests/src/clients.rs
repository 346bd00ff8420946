//! The clients of both adapters.

mod tokio;
mod ureq;

use oci_proto_common::Settings;
use oci_proto_tokio::credentials::Store;

use crate::adapter::{Adapter, Make};

/// The constructor of each adapter, with its name.
pub const MAKERS: [(&str, Make); 2] = [("tokio", tokio::make), ("ureq", ureq::make)];

/// The default settings, without credentials.
pub fn settings() -> Settings {
    Settings::default().credentials(Store::none())
}

/// A new client of each adapter.
///
/// # Panics
/// A client cannot be built.
pub fn adapters() -> [Box<dyn Adapter>; 2] {
    adapters_with(&settings())
}

/// A new client of each adapter, with the same settings.
///
/// # Panics
/// A client cannot be built.
pub fn adapters_with(settings: &Settings) -> [Box<dyn Adapter>; 2] {
    MAKERS.map(|(_, make)| make(settings))
}

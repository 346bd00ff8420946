//! Validated value types. Each is built by one parse function and depends on nothing above this module.

pub(crate) mod annotations;
#[cfg(feature = "serde")]
mod as_text;
pub(crate) mod descriptor;
pub(crate) mod digest;
pub(crate) mod id;
pub(crate) mod media_type;
pub(crate) mod platform;
pub(crate) mod reference;
pub(crate) mod scope;
pub(crate) mod secret;
pub(crate) mod time;
pub(crate) mod token;
pub(crate) mod upload_id;

//! Values that cannot be wrong: each is made by one parse function, and imports nothing from above.

pub(crate) mod descriptor;
pub(crate) mod digest;
pub(crate) mod id;
pub(crate) mod media_type;
pub(crate) mod platform;
pub(crate) mod reference;
pub(crate) mod secret;
pub(crate) mod time;
pub(crate) mod token;

//! The secrets in these tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(crate) const USER: &str = "somebody";
pub(crate) const PASSWORD: &str = "h0rse=b4ttery";
pub(crate) const IDENTITY: &str = "1dentity&r3fresh";
pub(crate) const TOKEN: &str = "4ccess.t0ken";
/// In the form in which it is part of a URL.
pub(crate) const SIGNATURE: &str = "s1gned%2Fv4lue";

/// Text that must not appear, in each of its forms.
pub(crate) fn secrets() -> Vec<String> {
    let basic = |name: &str, password: &str| STANDARD.encode(format!("{name}:{password}"));
    let mut secrets: Vec<String> =
        [PASSWORD, IDENTITY, TOKEN, SIGNATURE, "s1gned/v4lue"].map(str::to_owned).into();
    secrets.extend([basic(USER, PASSWORD), basic("<token>", IDENTITY)]);
    secrets
        .extend([PASSWORD, IDENTITY].map(|text| form_urlencoded::byte_serialize(text.as_bytes()).collect()));
    secrets
}

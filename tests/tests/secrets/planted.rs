//! The secrets in these tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(crate) const USER: &str = "somebody";
pub(crate) const PASSWORD: &str = "h0rse=b4ttery";
pub(crate) const IDENTITY: &str = "1dentity&r3fresh";
pub(crate) const TOKEN: &str = "4ccess.t0ken";
/// In the form in which it is part of a URL.
pub(crate) const SIGNATURE: &str = "s1gned%2Fv4lue";

/// The secrets between a client and one registry.
#[derive(Clone, Copy)]
pub(crate) struct Planted {
    pub(crate) password: &'static str,
    pub(crate) token: &'static str,
    /// In the form in which it is part of a URL.
    pub(crate) signature: &'static str,
}

pub(crate) const SOURCE: Planted = Planted { password: PASSWORD, token: TOKEN, signature: SIGNATURE };
/// Those of the destination of a copy.
pub(crate) const DESTINATION: Planted =
    Planted { password: "d0nkey=b4ttery", token: "5econd.t0ken", signature: "0ther%2Fs1gned" };

impl Planted {
    /// Each secret, as a request may have it.
    pub(crate) fn all(self) -> [String; 4] {
        let login = STANDARD.encode(format!("{USER}:{}", self.password));
        [self.password.to_owned(), self.token.to_owned(), self.signature.to_owned(), login]
    }
}

/// Text that must not appear, in each of its forms.
pub(crate) fn secrets() -> Vec<String> {
    let basic = |name: &str, password: &str| STANDARD.encode(format!("{name}:{password}"));
    let mut secrets: Vec<String> =
        [PASSWORD, IDENTITY, TOKEN, SIGNATURE, "s1gned/v4lue"].map(str::to_owned).into();
    secrets.extend([basic(USER, PASSWORD), basic("<token>", IDENTITY), "0ther/s1gned".to_owned()]);
    secrets.extend(DESTINATION.all());
    secrets
        .extend([PASSWORD, IDENTITY].map(|text| form_urlencoded::byte_serialize(text.as_bytes()).collect()));
    secrets
}

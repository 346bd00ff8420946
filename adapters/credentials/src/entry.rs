//! Reading the objects of a file. Error messages contain none of their values, which may be secret.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::STANDARD as STANDARD_PADDED;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use oci_proto::{Credentials, Secret};
use serde_json::{Map, Value};

pub(crate) type Object = Map<String, Value>;

/// A member that is an object. Null counts as absent.
pub(crate) fn object<'a>(of: &'a Object, name: &str) -> Result<Option<&'a Object>, String> {
    match of.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(format!("`{name}` is not an object")),
    }
}

/// A member that is a string. Null counts as absent.
pub(crate) fn string<'a>(of: &'a Object, name: &str) -> Result<Option<&'a str>, String> {
    match of.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` is not a string")),
    }
}

/// The login in an entry of `auths`, or `None` if the entry is empty.
pub(crate) fn login(entry: &Object) -> Result<Option<Credentials>, String> {
    let text = |name| string(entry, name).map(Option::unwrap_or_default);
    let token = text("registrytoken")?;
    if !token.is_empty() {
        return Ok(Some(Credentials::Bearer(token.into())));
    }
    let token = text("identitytoken")?;
    if !token.is_empty() {
        return Ok(Some(Credentials::Identity(token.into())));
    }
    let decoded;
    let (username, password) = match text("auth")? {
        "" => (text("username")?, text("password")?),
        auth => {
            decoded = decode(auth)?;
            let (username, password) =
                decoded.split_once(':').ok_or("`auth` has no colon between user and password")?;
            // Early versions of Docker padded the text with these.
            (username, password.trim_matches('\0'))
        }
    };
    if username.is_empty() && password.is_empty() {
        return Ok(None);
    }
    Credentials::login(username, password).map(Some).map_err(|invalid| invalid.to_string())
}

/// Returns an entry of `auths` with this login, as Docker writes it.
pub(crate) fn of(login: &Credentials) -> Result<Object, String> {
    let mut entry = Object::new();
    match login {
        Credentials::Identity(token) => {
            entry.insert("identitytoken".to_owned(), token.reveal().into());
        }
        login => {
            let (username, password) = username_and_secret(login)?;
            let auth = STANDARD_PADDED.encode(format!("{username}:{}", password.reveal()));
            entry.insert("auth".to_owned(), auth.into());
        }
    }
    Ok(entry)
}

/// Returns the user name and the secret of a login, as helpers store it.
pub(crate) fn username_and_secret(login: &Credentials) -> Result<(&str, &Secret), String> {
    match login {
        Credentials::Basic { username, password } => Ok((username, password)),
        Credentials::Identity(token) => Ok(("<token>", token)),
        _ => Err("only a user name with a password, or a refresh token, can be stored".to_owned()),
    }
}

/// Decodes with or without padding, since both occur, and ignores line breaks.
fn decode(auth: &str) -> Result<String, &'static str> {
    const ANY_PADDING: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, ANY_PADDING);
    let one_line: String = auth.split_ascii_whitespace().collect();
    let bytes = BASE64.decode(one_line).map_err(|_| "`auth` is not base64")?;
    String::from_utf8(bytes).map_err(|_| "`auth` is not base64 of UTF-8")
}

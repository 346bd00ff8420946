//! The body of the fuzz target `credentials`.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci_proto::{Credentials, CredentialsQuery};
use oci_proto_credentials::Store;
use serde_json::Value;

/// The secret in every seed. An input that contains it anywhere else may show it.
const SECRET: &str = "hunter2";

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("oci-proto-fuzz-{}", std::process::id())));

/// For any credentials file, a lookup returns credentials, none, or a short error, and reveals no secret of
/// the file. Credentials that it returns are in the file.
///
/// The input is the file.
pub fn credentials(data: &[u8]) {
    // A search path without programs, so that no helper runs.
    let nowhere = FILE.join("nowhere");
    fs::write(&*FILE, data).expect("a file can be written");
    let store = Store::from_vars(|name| (name == "PATH").then(|| nowhere.clone().into())).file(&*FILE);
    let value: Option<Value> = serde_json::from_slice(data).ok();
    for registry in ["registry.example", "docker.io"] {
        let query = CredentialsQuery::new(
            registry.parse().expect("a registry"),
            "team/app".parse().expect("a repository"),
        );
        match store.look_up(&query) {
            Ok(None) => {}
            Ok(Some(login)) => {
                let auths = value.as_ref().and_then(|value| value.get("auths")?.as_object());
                let mut entries = auths.expect("credentials come from `auths`").values();
                assert!(entries.any(|entry| holds(entry, &login)), "{login:?} is not in the file");
                let name = match &login {
                    Credentials::Basic { username, .. } => username.as_str(),
                    _ => "",
                };
                let shown = format!("{login:?}");
                assert!(name.contains(SECRET) || !shown.contains(SECRET), "{shown}");
            }
            Err(fault) => {
                let said = format!("{fault} {fault:?}");
                assert!(fault.to_string().len() < 4096, "{} bytes", said.len());
                // Names of helpers and registries may appear in errors.
                let is_name = value.as_ref().is_none_or(|value| is_name(value, SECRET));
                assert!(is_name || !said.contains(SECRET), "{said}");
            }
        }
    }
    _ = fs::remove_file(&*FILE);
}

/// Whether an entry of `auths` has these credentials.
fn holds(entry: &Value, login: &Credentials) -> bool {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    let decoded = STANDARD.decode(pad(&text("auth").split_ascii_whitespace().collect::<String>()));
    let decoded = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let (name, password) = decoded.split_once(':').unwrap_or_default();
    let logins = [(text("username"), text("password")), (name, password.trim_matches('\0'))];
    match login {
        Credentials::Basic { username, password } => logins.contains(&(username.as_str(), password.reveal())),
        // The user name <token> makes the password a token.
        Credentials::Identity(token) => {
            text("identitytoken") == token.reveal()
                || logins.iter().any(|(_, password)| *password == token.reveal())
        }
        Credentials::Bearer(token) => text("registrytoken") == token.reveal(),
        other => panic!("unknown credentials: {other:?}"),
    }
}

/// Base64 with normalized padding.
fn pad(text: &str) -> String {
    let bare = text.trim_end_matches('=');
    let missing = (4 - bare.len() % 4) % 4;
    format!("{bare}{}", "=".repeat(missing))
}

/// Whether the text is part of a name in the document: a key, or a value of `credsStore` and `credHelpers`.
fn is_name(value: &Value, text: &str) -> bool {
    let Value::Object(members) = value else { return false };
    members.iter().any(|(key, member)| {
        let names = match (key.as_str(), member) {
            ("credsStore", Value::String(name)) => name.contains(text),
            ("credHelpers", Value::Object(helpers)) => {
                helpers.values().any(|name| name.as_str().is_some_and(|name| name.contains(text)))
            }
            _ => false,
        };
        names || key.contains(text) || is_name(member, text)
    })
}

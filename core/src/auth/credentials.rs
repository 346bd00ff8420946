//! Logins for registries, and the Authorization headers made of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use crate::types::reference::name::Repository;
use crate::types::reference::registry::Registry;
use crate::types::secret::Secret;

/// A login for a registry.
///
/// Shown for debugging, it keeps its secrets to itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Credentials {
    /// A user's name and password.
    Basic {
        /// The name; it holds no colon (RFC 7617, section 2).
        username: String,
        /// The password, or what a registry takes in its place.
        password: Secret,
    },
    /// A refresh token, from which access tokens are made; Docker calls it an identity token.
    Identity(Secret),
    /// An access token, sent as it is to the registry and to nobody else.
    Bearer(Secret),
}

impl Credentials {
    /// The user name that stands for a refresh token in the password's place, as Docker's credential
    /// helpers have it.
    pub(crate) const IDENTITY_USER: &str = "<token>";

    /// A login with a user's name and a password, or with the refresh token that the name `<token>`
    /// announces.
    ///
    /// # Errors
    ///
    /// The name has a colon, which Basic authentication cannot carry.
    pub fn login(username: impl Into<String>, password: impl Into<Secret>) -> Result<Self, InvalidUsername> {
        let username = username.into();
        if username == Self::IDENTITY_USER {
            return Ok(Self::Identity(password.into()));
        }
        if username.contains(':') {
            return Err(InvalidUsername);
        }
        Ok(Self::Basic { username, password: password.into() })
    }
}

/// A user's name has a colon.
///
/// Source: RFC 7617, section 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user's name must not have a colon")]
#[non_exhaustive]
pub struct InvalidUsername;

/// Whose credentials are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialsQuery {
    /// The registry that asks for a login.
    pub registry: Registry,
    /// The repository that is asked for.
    pub repository: Repository,
}

impl CredentialsQuery {
    /// A query for what can be shown to `registry` when it is asked for `repository`.
    pub fn new(registry: Registry, repository: Repository) -> Self {
        Self { registry, repository }
    }
}

/// The Authorization header of a user's name and password (RFC 7617, section 2).
pub(crate) fn basic(username: &str, password: &Secret) -> Option<HeaderValue> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.reveal()))))
}

/// The Authorization header of an access token (RFC 6750, section 2.1).
pub(crate) fn bearer(token: &Secret) -> Option<HeaderValue> {
    sensitive(&format!("Bearer {}", token.reveal()))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_s_token_user_means_a_refresh_token() {
        assert_eq!(Credentials::login("<token>", "t"), Ok(Credentials::Identity("t".into())));
        assert!(matches!(Credentials::login("user", "t"), Ok(Credentials::Basic { .. })));
        assert_eq!(Credentials::login("a:b", "t"), Err(InvalidUsername));
    }

    #[test]
    fn secrets_do_not_show() {
        let login = Credentials::login("user", "hunter2").unwrap();
        assert!(!format!("{login:?}").contains("hunter2"), "{login:?}");
        assert_eq!(format!("{:?}", Secret::from("hunter2")), "REDACTED");
    }
}

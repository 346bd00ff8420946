//! Logins for registries, and their Authorization headers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use crate::types::reference::name::Repository;
use crate::types::reference::registry::Registry;
use crate::types::secret::Secret;

/// A login for a registry.
///
/// Its `Debug` output does not contain secrets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Credentials {
    /// A user name and a password.
    Basic {
        /// The user name. It must not contain a colon (RFC 7617, section 2).
        username: String,
        /// The password, or the token that a registry accepts in its place.
        password: Secret,
    },
    /// A refresh token, which is exchanged for access tokens. Docker calls it an identity token.
    Identity(Secret),
    /// An access token, sent verbatim to the registry and to no other server.
    Bearer(Secret),
}

impl Credentials {
    /// The user name with which Docker's credential helpers mark the password as a refresh token.
    pub(crate) const IDENTITY_USER: &str = "<token>";

    /// Creates a login from a user name and a password. The user name `<token>` marks the password as a
    /// refresh token.
    ///
    /// # Errors
    ///
    /// Fails if the user name contains a colon, which Basic authentication cannot represent.
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

impl Credentials {
    /// Returns the Authorization header with the user name and the secret, for redaction.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        match self {
            Self::Basic { username, password } => basic(username, password),
            Self::Identity(token) => basic(Self::IDENTITY_USER, token),
            Self::Bearer(token) => bearer(token),
        }
    }
}

/// The error returned for a user name that contains a colon.
///
/// Source: RFC 7617, section 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user name must not contain a colon")]
#[non_exhaustive]
pub struct InvalidUsername;

/// A question for the credentials of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialsQuery {
    /// The registry that requires a login.
    pub registry: Registry,
    /// The repository of the request, or `None` if it concerns the registry as a whole.
    pub repository: Option<Repository>,
    /// Whether the answer to the last such query was refused: by the registry, or by its token server. Whoever keeps logins
    /// for a while must find another one.
    pub is_refused: bool,
}

impl CredentialsQuery {
    /// Creates a query for the credentials to use with `repository` on `registry`.
    pub fn new(registry: Registry, repository: Repository) -> Self {
        Self { registry, repository: Some(repository), is_refused: false }
    }

    /// Creates a query for the credentials to use with a registry as a whole.
    pub fn of_registry(registry: Registry) -> Self {
        Self { registry, repository: None, is_refused: false }
    }
}

/// Returns the Authorization header for a user name and a password (RFC 7617, section 2).
pub(crate) fn basic(username: &str, password: &Secret) -> Option<HeaderValue> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.reveal()))))
}

/// Returns the Authorization header for an access token (RFC 6750, section 2.1).
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
    fn the_user_name_token_marks_a_refresh_token() {
        assert_eq!(Credentials::login("<token>", "t"), Ok(Credentials::Identity("t".into())));
        assert!(matches!(Credentials::login("user", "t"), Ok(Credentials::Basic { .. })));
        assert_eq!(Credentials::login("a:b", "t"), Err(InvalidUsername));
    }

    #[test]
    fn debug_output_hides_secrets() {
        let login = Credentials::login("user", "hunter2").unwrap();
        assert!(!format!("{login:?}").contains("hunter2"), "{login:?}");
        assert_eq!(format!("{:?}", Secret::from("hunter2")), "REDACTED");
    }
}

//! The users of a registry, from a file in the format of Apache's `htpasswd`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use oci_proto::server::{InvalidUser, User};
use oci_proto::{Algorithm, Digest};

use crate::server::login::Login;

/// The time for which a login that was right is not checked again.
const REMEMBERED: Duration = Duration::from_secs(60);
/// The maximum number of logins that are remembered.
const MAX_REMEMBERED: usize = 1000;
/// The highest cost of a hash. Checking one takes some seconds.
const MAX_COST: u32 = 16;

/// The users of a registry, with the hashes of their passwords: a file as `htpasswd -B` writes it.
///
/// A hash takes tens of milliseconds to check, so a login that was right is remembered for a minute.
///
/// ```
/// use oci_proto_tokio::server::{Htpasswd, Login, Options};
///
/// // The password is `secret`.
/// let users = Htpasswd::parse("ann:$2y$05$.Yg8lmtX9BlQAmqILwE14.ZTR2L53.e3dM18BBhbeIv4LLKvKgZPm")?;
/// let login = "Basic YW5uOnNlY3JldA==".parse()?;
/// assert_eq!(users.check(&login), Login::User("ann".parse()?));
/// let options = Options::default().authenticate(move |header| users.check(header));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Htpasswd {
    hashes: BTreeMap<User, String>,
    /// The fingerprints of logins that were right, with the times at which they were checked.
    remembered: Mutex<BTreeMap<Digest, Instant>>,
    salt: RandomState,
}

impl Htpasswd {
    /// Reads a file.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or if a line is invalid.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, HtpasswdError> {
        let path = path.as_ref();
        let text = fs::read_to_string(path);
        let text = text.map_err(|error| HtpasswdError::Read { path: path.to_owned(), error })?;
        Self::parse(&text).map_err(|error| HtpasswdError::Invalid { path: path.to_owned(), error })
    }

    /// Reads the text of a file. Empty lines, and those that begin with `#`, are skipped.
    ///
    /// # Errors
    /// Fails if a line is not a user and the bcrypt hash of a password, or if two lines have the same user.
    pub fn parse(text: &str) -> Result<Self, InvalidHtpasswd> {
        let mut hashes = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let invalid = |problem| InvalidHtpasswd { line: number, problem };
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (user, hash) = line.split_once(':').ok_or_else(|| invalid(Problem::Colon))?;
            let user: User = user.parse().map_err(|error| invalid(Problem::User(error)))?;
            check_hash(hash).map_err(invalid)?;
            if hashes.insert(user, hash.to_owned()).is_some() {
                return Err(invalid(Problem::Repeated));
            }
        }
        Ok(Self { hashes, remembered: Mutex::default(), salt: RandomState::new() })
    }

    /// Returns the users.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.hashes.keys()
    }

    /// Checks the header Authorization of a request. It may take tens of milliseconds.
    pub fn check(&self, header: &HeaderValue) -> Login {
        let Some((user, password)) = basic(header) else { return Login::Refused };
        let fingerprint = self.fingerprint(header);
        let now = Instant::now();
        if self.remembers(&fingerprint, now) {
            return Login::User(user);
        }
        // An unknown user takes as long as a wrong password, so that the time does not tell which names there are.
        let (hash, is_known) = match self.hashes.get(&user) {
            Some(hash) => (Some(hash), true),
            None => (self.hashes.values().next(), false),
        };
        let is_right = hash.is_some_and(|hash| bcrypt::verify(password, hash).unwrap_or(false));
        if !is_right || !is_known {
            return Login::Refused;
        }
        self.remember(fingerprint, now);
        Login::User(user)
    }

    /// Returns what identifies a login, without being it.
    fn fingerprint(&self, header: &HeaderValue) -> Digest {
        let salt = [self.salt.hash_one(0_u8), self.salt.hash_one(1_u8)].map(u64::to_be_bytes).concat();
        Digest::of(Algorithm::Sha256, &[&salt, header.as_bytes()].concat())
    }

    fn remembers(&self, fingerprint: &Digest, now: Instant) -> bool {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(fingerprint).is_some_and(|at| now.saturating_duration_since(*at) < REMEMBERED)
    }

    fn remember(&self, fingerprint: Digest, now: Instant) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.retain(|_, at| now.saturating_duration_since(*at) < REMEMBERED);
        }
        if remembered.len() < MAX_REMEMBERED {
            remembered.insert(fingerprint, now);
        }
    }
}

impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Htpasswd").field("users", &self.hashes.keys()).finish_non_exhaustive()
    }
}

/// The error returned when an htpasswd file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HtpasswdError {
    /// The file cannot be read.
    #[error("could not read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error.
        #[source]
        error: io::Error,
    },
    /// The file is invalid.
    #[error("{}: {error}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The error.
        #[source]
        error: InvalidHtpasswd,
    },
}

/// The error returned when a text is not that of an htpasswd file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct InvalidHtpasswd {
    line: usize,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("expected a user name, a colon and a hash")]
    Colon,
    #[error(transparent)]
    User(InvalidUser),
    #[error("the password is not hashed with bcrypt; write it with `htpasswd -B`")]
    NotBcrypt,
    #[error("the cost of the hash is {0}; the limit is {MAX_COST}")]
    Cost(u32),
    #[error("the user occurs twice")]
    Repeated,
}

/// Checks that a hash is one of bcrypt, such as `$2y$05$` and 53 characters.
fn check_hash(hash: &str) -> Result<(), Problem> {
    let mut parts = hash.split('$');
    let (Some(""), Some("2a" | "2b" | "2x" | "2y"), Some(cost), Some(rest), None) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Problem::NotBcrypt);
    };
    let is_base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/');
    let cost: u32 = cost.parse().map_err(|_| Problem::NotBcrypt)?;
    if rest.len() != 53 || !rest.bytes().all(is_base64) || cost < 4 {
        return Err(Problem::NotBcrypt);
    }
    if cost > MAX_COST { Err(Problem::Cost(cost)) } else { Ok(()) }
}

/// Returns the user and the password of a Basic login.
///
/// Source: RFC 7617, section 2.
fn basic(header: &HeaderValue) -> Option<(User, Vec<u8>)> {
    let (scheme, login) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let mut login = STANDARD.decode(login.trim()).ok()?;
    let colon = login.iter().position(|b| *b == b':')?;
    let password = login.split_off(colon + 1);
    login.pop();
    let user = String::from_utf8(login).ok()?.parse().ok()?;
    Some((user, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Htpasswd {
        let hash = |password: &str| bcrypt::hash(password, 4).unwrap();
        let text = format!("# users\n\nann:{}\nbob:{}\n", hash("s3cret"), hash("pässword:x"));
        Htpasswd::parse(&text).unwrap()
    }

    fn header(login: &str) -> HeaderValue {
        HeaderValue::try_from(format!("Basic {}", STANDARD.encode(login))).unwrap()
    }

    #[test]
    fn a_login_is_right_if_user_and_password_are() {
        let users = users();
        for (login, user) in [
            ("ann:s3cret", Some("ann")),
            ("bob:pässword:x", Some("bob")),
            ("ann:s3cre", None),
            ("ann:", None),
            ("bob:s3cret", None),
            ("eve:s3cret", None),
            (":s3cret", None),
            ("ann", None),
        ] {
            let expected = user.map_or(Login::Refused, |user| Login::User(user.parse().unwrap()));
            // The second time it may be remembered.
            for _ in 0..2 {
                assert_eq!(users.check(&header(login)), expected, "{login}");
            }
        }
        for text in ["Bearer abc", "Basic", "Basic !", "basic"] {
            assert_eq!(users.check(&HeaderValue::from_static(text)), Login::Refused, "{text}");
        }
        assert_eq!(users.remembered.lock().unwrap().len(), 2);
        let debug = format!("{users:?}");
        assert!(debug.contains("ann") && !debug.contains("$2"), "{debug}");
    }

    #[test]
    fn a_login_is_remembered_for_a_while_and_not_without_bound() {
        let users = users();
        let now = Instant::now();
        let first = users.fingerprint(&header("ann:s3cret"));
        users.remember(first.clone(), now);
        let at = |seconds| now + Duration::from_secs(seconds);
        assert!(users.remembers(&first, at(59)));
        assert!(!users.remembers(&first, at(60)));
        for n in 0..2 * MAX_REMEMBERED {
            users.remember(users.fingerprint(&header(&format!("ann:{n}"))), at(59));
        }
        assert_eq!(users.remembered.lock().unwrap().len(), MAX_REMEMBERED);
        users.remember(users.fingerprint(&header("ann:later")), at(200));
        assert_eq!(users.remembered.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_line_that_is_no_user_is_named() {
        let hash = bcrypt::hash("x", 4).unwrap();
        for (text, expected) in [
            ("ann", "line 1: expected a user name, a colon and a hash".to_owned()),
            (":x", "line 1: a user name has 1 to 255 bytes".to_owned()),
            (
                "\nann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
                "line 2: the password is not hashed with bcrypt".to_owned(),
            ),
            ("ann:$apr1$x$y", "line 1: the password is not hashed with bcrypt".to_owned()),
            ("ann:secret", "line 1: the password is not hashed with bcrypt".to_owned()),
            (&hash.replace("$04$", "$31$"), String::new()),
            (&format!("ann:{hash}\nann:{hash}"), "line 2: the user occurs twice".to_owned()),
        ] {
            let (text, expected) = if expected.is_empty() {
                (format!("ann:{text}"), "line 1: the cost of the hash is 31; the limit is 16".to_owned())
            } else {
                (text.to_owned(), expected)
            };
            let error = Htpasswd::parse(&text).unwrap_err().to_string();
            assert!(error.starts_with(&expected), "{error}");
        }
    }
}

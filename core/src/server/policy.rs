//! What a server permits, and its limits.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use http::header::{WARNING, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};

use crate::header::warning::Warning;
use crate::server::body::Body;
use crate::server::error_response::{Code, ErrorResponse};
use crate::server::response::value;
use crate::types::reference::name::Repository;

/// What a server permits, and its limits. The default permits everyone to read, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Who may do what. Of the rules that cover a repository, the one with the longest prefix applies; without any,
    /// nobody may do anything.
    pub rules: Vec<Rule>,
    /// Components that the name of a repository may not have, such as those that a storage on disk uses itself.
    pub reserved_components: BTreeSet<String>,
    /// Whether everything that a manifest refers to must be in its repository when it is pushed, except for
    /// non-distributable layers and for its subject.
    pub complete_manifests: bool,
    /// The maximum size of a manifest, in bytes. The default is 4 MiB, which every registry accepts.
    pub manifest_bytes: u64,
    /// The maximum size of a blob, in bytes. The default is 1 TiB.
    pub blob_bytes: u64,
    /// The size that chunks should have at least, in bytes, as told to clients. Smaller ones are accepted.
    pub min_chunk: Option<NonZeroU64>,
    /// The maximum number of upload sessions. The default is 1,000.
    pub uploads: usize,
    /// The time after its last request at which an upload session expires. The default is an hour.
    pub upload_lifetime: Duration,
    /// A message to users, such as that the registry will be moved. Clients show it with each response that has it:
    /// those of [`Server::respond`](crate::server::Server::respond) and [`Reply::done`](crate::server::Reply::done).
    /// Responses that depend on no policy do not: those of [`Reply::failed`](crate::server::Reply::failed), and of the
    /// functions of [`Server`](crate::server::Server) that refuse a login, a host or a connection, or replace a blob that
    /// cannot be read.
    ///
    /// Source: distribution-spec, "Warnings".
    pub warning: Option<Warning>,
}

/// Who may do what with some repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rule {
    /// The repositories: this one and those below it, or all.
    pub prefix: Option<Repository>,
    /// Who may read.
    pub reads: Who,
    /// Who may push.
    pub writes: Who,
    /// Who may delete tags, manifests and blobs.
    pub deletes: Who,
    /// Whether a tag stays as it was set first.
    pub immutable_tags: bool,
}

/// Who may do something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a set of users, all of them, everyone, or nobody")]
pub enum Who {
    /// Nobody.
    Nobody,
    /// Everyone, with a login or without.
    Everyone,
    /// Every user who has logged in.
    AnyUser,
    /// These users.
    Users(BTreeSet<User>),
}

/// The name of a user who has logged in: not empty, at most 255 bytes, and without a colon and control characters.
///
/// A server does not know passwords. An adapter checks those of a request, and inserts the user into the extensions
/// of its [head](http::request::Parts).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct User(Box<str>);

/// Something that a rule permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
    Delete,
}

impl Policy {
    /// Returns the policy that permits everyone to read, push and delete.
    pub fn open() -> Self {
        Self { rules: vec![Rule::open()], ..Self::default() }
    }

    /// Checks an access to a repository.
    pub(super) fn check(
        &self,
        access: Access,
        repository: &Repository,
        user: Option<&User>,
    ) -> Result<(), ErrorResponse> {
        let who = self.rule(repository).map_or(&Who::Nobody, |rule| rule.who(access));
        match (who, user) {
            (Who::Everyone, _) | (Who::AnyUser, Some(_)) => {}
            (Who::Users(users), Some(user)) if users.contains(user) => {}
            (Who::AnyUser | Who::Users(_), None) => return Err(login_required()),
            (Who::Nobody, _) if access != Access::Read && self.is_read_only() => return Err(read_only()),
            (Who::Nobody | Who::Users(_), _) => {
                let to = match access {
                    Access::Read => "read from",
                    Access::Write => "push to",
                    Access::Delete => "delete from",
                };
                let message = match user {
                    Some(user) => format!("{user} may not {to} `{repository}`"),
                    None => format!("nobody may {to} `{repository}`"),
                };
                return Err(ErrorResponse::new(StatusCode::FORBIDDEN, Code::Denied, message));
            }
        }
        if access == Access::Write { self.check_name(repository) } else { Ok(()) }
    }

    /// Checks the name of a repository to which something is pushed.
    fn check_name(&self, repository: &Repository) -> Result<(), ErrorResponse> {
        let mut parts = repository.as_str().split('/');
        let Some(reserved) = parts.find(|part| self.reserved_components.contains(*part)) else {
            return Ok(());
        };
        let message = format_args!("no repository may be named `{repository}`: `{reserved}` is reserved");
        Err(ErrorResponse::not_found(Code::NameUnknown, message))
    }

    /// Checks whether a user may do anything here. Clients ask before their first request.
    pub(super) fn check_version(&self, user: Option<&User>) -> Result<(), ErrorResponse> {
        let is_open = self.rules.iter().any(|rule| rule.reads == Who::Everyone) || self.rules.is_empty();
        if is_open || user.is_some() { Ok(()) } else { Err(login_required()) }
    }

    /// Returns whether a user may read from a repository.
    pub(super) fn shows(&self, repository: &Repository, user: Option<&User>) -> bool {
        self.check(Access::Read, repository, user).is_ok()
    }

    /// Returns whether the tags of a repository stay as they were set first.
    pub(super) fn has_immutable_tags(&self, repository: &Repository) -> bool {
        self.rule(repository).is_some_and(|rule| rule.immutable_tags)
    }

    /// Adds the warning to a response.
    pub(super) fn warn(&self, response: &mut Response<Body>) {
        if let Some(warning) = &self.warning {
            response.headers_mut().insert(WARNING, value(warning));
        }
    }

    /// Returns whether nobody may push or delete anything.
    pub(super) fn is_read_only(&self) -> bool {
        self.rules.iter().all(|rule| rule.writes == Who::Nobody && rule.deletes == Who::Nobody)
    }

    fn rule(&self, repository: &Repository) -> Option<&Rule> {
        let covering = self.rules.iter().filter(|rule| rule.covers(repository));
        covering.max_by_key(|rule| rule.prefix.as_ref().map_or(0, |prefix| prefix.as_str().len()))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            rules: vec![Rule::read_only()],
            reserved_components: BTreeSet::new(),
            complete_manifests: false,
            manifest_bytes: 4 << 20,
            blob_bytes: 1 << 40,
            min_chunk: None,
            uploads: 1000,
            upload_lifetime: Duration::from_secs(3600),
            warning: None,
        }
    }
}

impl Rule {
    /// Returns the rule for all repositories that permits everyone to read, push and delete.
    pub fn open() -> Self {
        Self { writes: Who::Everyone, deletes: Who::Everyone, ..Self::read_only() }
    }

    /// Returns the rule for all repositories that permits everyone to read, and nothing else.
    pub fn read_only() -> Self {
        Self {
            prefix: None,
            reads: Who::Everyone,
            writes: Who::Nobody,
            deletes: Who::Nobody,
            immutable_tags: false,
        }
    }

    fn covers(&self, repository: &Repository) -> bool {
        let Some(prefix) = &self.prefix else { return true };
        let rest = repository.as_str().strip_prefix(prefix.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn who(&self, access: Access) -> &Who {
        match access {
            Access::Read => &self.reads,
            Access::Write => &self.writes,
            Access::Delete => &self.deletes,
        }
    }
}

impl User {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for User {
    type Err = InvalidUser;

    fn from_str(text: &str) -> Result<Self, InvalidUser> {
        const MAX_LEN: usize = 255;
        let is_plain = |c: char| c != ':' && !c.is_control();
        let fits = (1..=MAX_LEN).contains(&text.len()) && text.chars().all(is_plain);
        if fits { Ok(Self(text.into())) } else { Err(InvalidUser(())) }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The error returned when a text is not the name of a [`User`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user name has 1 to 255 bytes, no colon and no control characters")]
pub struct InvalidUser(());

/// The response to a request that would change a server where nothing may be changed.
pub(super) fn read_only() -> ErrorResponse {
    let message = "this registry is read-only: only GET and HEAD are allowed";
    ErrorResponse::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, message).allowing("GET, HEAD")
}

fn login_required() -> ErrorResponse {
    unauthorized("this requires a login")
}

/// The response to a request without a valid login.
pub(super) fn unauthorized(message: &str) -> ErrorResponse {
    ErrorResponse::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, message)
        .with(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"registry\", charset=\"UTF-8\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(name: &str) -> Repository {
        name.parse().unwrap()
    }

    fn user(name: &str) -> User {
        name.parse().unwrap()
    }

    #[track_caller]
    fn answer(policy: &Policy, access: Access, name: &str, who: Option<&str>) -> Option<(u16, &'static str)> {
        let refused = policy.check(access, &repository(name), who.map(user).as_ref()).err()?;
        Some((refused.status.as_u16(), refused.code.as_str()))
    }

    #[test]
    fn a_server_is_read_only_by_default() {
        let policy = Policy::default();
        assert_eq!(answer(&policy, Access::Read, "a", None), None);
        for access in [Access::Write, Access::Delete] {
            assert_eq!(answer(&policy, access, "a", Some("ann")), Some((405, "UNSUPPORTED")));
        }
        assert_eq!(answer(&Policy::open(), Access::Delete, "a", None), None);
    }

    #[test]
    fn the_longest_prefix_decides() {
        let team = Rule {
            prefix: Some(repository("team")),
            reads: Who::AnyUser,
            writes: Who::Users([user("ann")].into()),
            ..Rule::read_only()
        };
        let public = Rule { prefix: Some(repository("team/public")), ..Rule::open() };
        let policy = Policy { rules: vec![public, Rule::read_only(), team], ..Policy::default() };
        let (required, denied) = (Some((401, "UNAUTHORIZED")), Some((403, "DENIED")));
        for (access, name, who, expected) in [
            (Access::Read, "other", None, None),
            (Access::Read, "teams", None, None),
            (Access::Write, "other", Some("ann"), denied),
            (Access::Read, "team", None, required),
            (Access::Read, "team/app", None, required),
            (Access::Read, "team/app", Some("bob"), None),
            (Access::Write, "team/app", None, required),
            (Access::Write, "team/app", Some("bob"), denied),
            (Access::Write, "team/app", Some("ann"), None),
            (Access::Delete, "team/app", Some("ann"), denied),
            (Access::Delete, "team/public/a", None, None),
        ] {
            assert_eq!(answer(&policy, access, name, who), expected, "{access:?} {name} {who:?}");
        }
    }

    #[test]
    fn a_registry_where_everything_requires_a_login_says_so_first() {
        let rule = Rule { reads: Who::AnyUser, ..Rule::open() };
        let closed = Policy { rules: vec![rule], ..Policy::default() };
        assert!(closed.check_version(None).is_err());
        assert!(closed.check_version(Some(&user("ann"))).is_ok());
        assert!(Policy::default().check_version(None).is_ok());
    }

    #[test]
    fn a_name_with_a_colon_is_no_user() {
        for (text, is_valid) in [("ann", true), ("a b", true), ("", false), ("a:b", false), ("a\n", false)] {
            assert_eq!(text.parse::<User>().is_ok(), is_valid, "{text:?}");
        }
        assert!("x".repeat(256).parse::<User>().is_err());
    }
}

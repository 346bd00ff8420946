//! The endpoints of a registry: one table to build and parse their paths.
//!
//! A client builds the URL of a request from an [`Endpoint`], and a server parses a request's target
//! into one. An endpoint contains only validated names, so no other text reaches a URL or a lookup.
//!
//! | endpoint | path | parameters | in the specification |
//! |---|---|---|---|
//! | [`Version`](Endpoint::Version) | `/v2/` | | end-1 |
//! | [`Blob`](Endpoint::Blob) | `/v2/<name>/blobs/<digest>` | | end-2, end-10 |
//! | [`Manifest`](Endpoint::Manifest) | `/v2/<name>/manifests/<reference>` | `tag`, repeated; `digest` | end-3, end-7, end-9 |
//! | [`Uploads`](Endpoint::Uploads) | `/v2/<name>/blobs/uploads/`; parsed without the last slash, too | `digest-algorithm`, or `digest`, or `mount` and `from` | end-4a, end-4b, end-11 |
//! | [`Upload`](Endpoint::Upload) | `/v2/<name>/blobs/uploads/<id>` | `digest` | end-5, end-6, end-13, end-14 |
//! | [`Tags`](Endpoint::Tags) | `/v2/<name>/tags/list` | `n`, `last` | end-8a, end-8b |
//! | [`Referrers`](Endpoint::Referrers) | `/v2/<name>/referrers/<digest>` | `artifactType`, and in the links of this server `last` | end-12a, end-12b |
//! | [`Catalog`](Endpoint::Catalog) | `/v2/_catalog` | `n`, `last` | none: Docker's |
//!
//! Source: distribution-spec 1.1, "Endpoints", and its main branch for end-14, `tag` and `digest-algorithm`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use http::Uri;

use crate::types::digest::{Algorithm, Digest, InvalidDigest};
use crate::types::media_type::{InvalidMediaType, MediaType};
use crate::types::reference::error::InvalidReference;
use crate::types::reference::name::{Repository, Tag};
use crate::types::reference::tag_or_digest::TagOrDigest;
use crate::types::upload_id::UploadId;
use crate::wire::percent;

/// An endpoint, with the parameters of its path and query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// The API version check.
    Version,
    /// A blob.
    Blob(Repository, Digest),
    /// A manifest, the tags that a PUT by digest also sets, and the digest under which a PUT by tag stores it.
    ///
    /// Clients do not send that digest, which few registries know.
    Manifest(Repository, TagOrDigest, Vec<Tag>, Option<Digest>),
    /// The uploads of a repository, where an upload starts.
    Uploads(Repository, Begin),
    /// An upload session, and the digest that closes it.
    ///
    /// Only a server uses this endpoint: to a client, the URL of a session is opaque.
    Upload(Repository, UploadId, Option<Digest>),
    /// The tags of a repository.
    Tags(Repository, Page<Tag>),
    /// The referrers of a subject, all of them or those of one artifact type, and the one after which the page starts.
    Referrers(Repository, Digest, Option<MediaType>, Option<Digest>),
    /// The repositories of a registry.
    Catalog(Page<Repository>),
}

/// The start of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// A session, optionally with the algorithm of the final digest.
    Session(Option<Algorithm>),
    /// A single request with the whole content.
    Whole(Digest),
    /// A mount of content from another repository, or from any if `None`.
    Mount(Digest, Option<Repository>),
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page<T> {
    /// The maximum number of entries.
    pub(crate) n: Option<usize>,
    /// The entry after which the page starts.
    pub(crate) last: Option<T>,
}

impl Endpoint {
    /// The maximum number of `tag` parameters in a URL, which every registry accepts. Further tags are
    /// omitted from the URL, and hence from the OCI-Tag header of the response, which lists the tags
    /// that were set.
    ///
    /// Source: distribution-spec (main), "Pushing Manifests".
    pub(crate) const MAX_TAGS: usize = 10;

    /// Returns the path, with the query if there is one.
    pub(crate) fn path_and_query(&self) -> String {
        let mut query = String::new();
        let path = match self {
            Self::Version => "/v2/".to_owned(),
            Self::Blob(repository, digest) => {
                ["/v2/", repository.as_str(), "/blobs/", &digest.to_string()].concat()
            }
            Self::Manifest(repository, name, tags, digest) => {
                add(&mut query, "tag", tags.iter().take(Self::MAX_TAGS));
                add(&mut query, "digest", digest);
                ["/v2/", repository.as_str(), "/manifests/", &name.to_string()].concat()
            }
            Self::Uploads(repository, begin) => {
                match begin {
                    Begin::Session(algorithm) => {
                        add(&mut query, "digest-algorithm", algorithm.map(Algorithm::as_str));
                    }
                    Begin::Whole(digest) => add(&mut query, "digest", [digest]),
                    Begin::Mount(digest, from) => {
                        add(&mut query, "mount", [digest]);
                        add(&mut query, "from", from);
                    }
                }
                format!("/v2/{repository}/blobs/uploads/")
            }
            Self::Upload(repository, id, digest) => {
                add(&mut query, "digest", digest);
                format!("/v2/{repository}/blobs/uploads/{id}")
            }
            Self::Tags(repository, Page { n, last }) => {
                add(&mut query, "n", n);
                add(&mut query, "last", last);
                format!("/v2/{repository}/tags/list")
            }
            Self::Referrers(repository, digest, artifact_type, last) => {
                add(&mut query, "artifactType", artifact_type);
                add(&mut query, "last", last);
                format!("/v2/{repository}/referrers/{digest}")
            }
            Self::Catalog(Page { n, last }) => {
                add(&mut query, "n", n);
                add(&mut query, "last", last);
                "/v2/_catalog".to_owned()
            }
        };
        if query.is_empty() { path } else { format!("{path}?{query}") }
    }

    /// Parses a request's target. Unknown parameters are ignored.
    ///
    /// The path is parsed from its end, since a repository name may contain slashes and the words of
    /// endpoints.
    pub(crate) fn parse(target: &Uri) -> Result<Self, InvalidEndpoint> {
        let path = percent::decode(target.path()).ok_or(InvalidEndpoint::PathEncoding)?;
        let query = Query(target.query().unwrap_or_default());
        let rest = match &*path {
            "/v2" | "/v2/" => return Ok(Self::Version),
            "/v2/_catalog" => {
                return query.page("repositories", InvalidEndpoint::Repository).map(Self::Catalog);
            }
            path => path.strip_prefix("/v2/").ok_or(InvalidEndpoint::Unknown)?,
        };
        let mut from_tail = rest.rsplitn(3, '/');
        let (Some(last), Some(word), Some(name)) = (from_tail.next(), from_tail.next(), from_tail.next())
        else {
            return Err(InvalidEndpoint::Unknown);
        };
        let repository = |name: &str| name.parse().map_err(InvalidEndpoint::Repository);
        let digest = |text: &str| text.parse().map_err(InvalidEndpoint::Digest);
        match (word, last) {
            ("manifests", reference) => {
                let repository = repository(name)?;
                let name = if reference.contains(':') {
                    TagOrDigest::Digest(digest(reference)?)
                } else {
                    TagOrDigest::Tag(reference.parse().map_err(InvalidEndpoint::Tag)?)
                };
                let tags = query.all("tag", InvalidEndpoint::TagParameter)?;
                Ok(Self::Manifest(repository, name, tags, query.first("digest", InvalidEndpoint::Digest)?))
            }
            // It is no digest, so it can only be the endpoint without its slash. A redirect would turn a POST into a GET.
            ("blobs", "uploads") => Ok(Self::Uploads(repository(name)?, query.begin()?)),
            ("blobs", text) => Ok(Self::Blob(repository(name)?, digest(text)?)),
            ("uploads", id) => {
                let repository = repository(name.strip_suffix("/blobs").ok_or(InvalidEndpoint::Unknown)?)?;
                if id.is_empty() {
                    return Ok(Self::Uploads(repository, query.begin()?));
                }
                Ok(Self::Upload(
                    repository,
                    id.parse().map_err(|_| InvalidEndpoint::UploadId)?,
                    query.first("digest", InvalidEndpoint::Digest)?,
                ))
            }
            ("tags", "list") => {
                Ok(Self::Tags(repository(name)?, query.page("tags", InvalidEndpoint::TagParameter)?))
            }
            ("referrers", text) => {
                let artifact_type = query.first("artifactType", InvalidEndpoint::MediaType)?;
                let last = query.first("last", InvalidEndpoint::Digest)?;
                Ok(Self::Referrers(repository(name)?, digest(text)?, artifact_type, last))
            }
            _ => Err(InvalidEndpoint::Unknown),
        }
    }
}

/// Returns the first page, without a limit on its size.
impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { n: None, last: None }
    }
}

/// The error returned when a target is not that of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidEndpoint {
    #[error("no such endpoint")]
    Unknown,
    #[error("the path's percent-encoding is malformed")]
    PathEncoding,
    #[error("the query's percent-encoding is malformed")]
    QueryEncoding,
    #[error(transparent)]
    Repository(InvalidReference),
    /// A tag in the path.
    #[error(transparent)]
    Tag(InvalidReference),
    /// A tag in the query.
    #[error(transparent)]
    TagParameter(InvalidReference),
    #[error(transparent)]
    Digest(InvalidDigest),
    #[error("`digest-algorithm` is not sha256, sha384 or sha512")]
    Algorithm,
    #[error(transparent)]
    MediaType(InvalidMediaType),
    #[error("`n` is not a valid number of {0}")]
    Number(&'static str),
    #[error("the upload id is malformed")]
    UploadId,
}

/// Adds a parameter for each value.
fn add(query: &mut String, name: &str, values: impl IntoIterator<Item: fmt::Display>) {
    for value in values {
        percent::push_pair(query, name, &value.to_string());
    }
}

/// The query of a target.
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Returns the decoded values of a parameter.
    fn texts(&self, name: &'static str) -> impl Iterator<Item = Result<Cow<'a, str>, InvalidEndpoint>> {
        let pairs = self.0.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs
            .filter(move |(key, _)| *key == name)
            .map(|(_, value)| percent::decode(value).ok_or(InvalidEndpoint::QueryEncoding))
    }

    fn first_text(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, InvalidEndpoint> {
        self.texts(name).next().transpose()
    }

    fn all<T: FromStr>(
        &self,
        name: &'static str,
        invalid: impl Fn(T::Err) -> InvalidEndpoint,
    ) -> Result<Vec<T>, InvalidEndpoint> {
        self.texts(name).map(|text| text?.parse().map_err(&invalid)).collect()
    }

    fn first<T: FromStr>(
        &self,
        name: &'static str,
        invalid: impl Fn(T::Err) -> InvalidEndpoint,
    ) -> Result<Option<T>, InvalidEndpoint> {
        self.first_text(name)?.map(|text| text.parse().map_err(invalid)).transpose()
    }

    fn page<T: FromStr>(
        &self,
        entries: &'static str,
        invalid: impl Fn(T::Err) -> InvalidEndpoint,
    ) -> Result<Page<T>, InvalidEndpoint> {
        let n = match self.first_text("n")? {
            None => None,
            Some(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                // Parsing digits fails only by overflow, which exceeds any possible number of entries.
                Some(text.parse().unwrap_or(usize::MAX))
            }
            Some(_) => return Err(InvalidEndpoint::Number(entries)),
        };
        let last = self.first_text("last")?.filter(|text| !text.is_empty());
        let last = last.map(|text| text.parse().map_err(invalid)).transpose()?;
        Ok(Page { n, last })
    }

    fn begin(&self) -> Result<Begin, InvalidEndpoint> {
        if let Some(mount) = self.first("mount", InvalidEndpoint::Digest)? {
            return Ok(Begin::Mount(mount, self.first("from", InvalidEndpoint::Repository)?));
        }
        if let Some(digest) = self.first("digest", InvalidEndpoint::Digest)? {
            return Ok(Begin::Whole(digest));
        }
        let algorithm = self.first_text("digest-algorithm")?;
        let algorithm =
            algorithm.map(|name| Algorithm::named(&name).ok_or(InvalidEndpoint::Algorithm)).transpose()?;
        Ok(Begin::Session(algorithm))
    }
}

#[cfg(test)]
mod tests;

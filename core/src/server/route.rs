//! From a request's target to what it asks for. Nothing goes further that was not parsed.

use std::borrow::Cow;

use http::Uri;

use crate::server::refusal::{Code, Refusal};
use crate::types::digest::Digest;
use crate::types::media_type::MediaType;
use crate::types::reference::name::{Repository, Tag};
use crate::wire::percent;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// end-1
    Version,
    /// end-2
    Blob(Repository, Digest),
    /// end-3
    Manifest(Repository, Name),
    /// end-8a, end-8b
    Tags(Repository, Page),
    /// end-12a, end-12b
    Referrers(Repository, Digest, Option<MediaType>),
}

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Tag(Tag),
    Digest(Digest),
}

/// Which part of a list of tags is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// At most so many.
    pub(super) n: Option<usize>,
    /// Those after this one.
    pub(super) last: Option<Tag>,
}

impl Route {
    /// Reads a path from its tail, since a repository's name may have slashes and any words in it.
    pub(super) fn parse(target: &Uri) -> Result<Self, Refusal> {
        let undecodable =
            || Refusal::malformed(Code::NameInvalid, "the path's percent-encoding is malformed");
        let path = percent::decode(target.path()).ok_or_else(undecodable)?;
        if path == "/v2/" || path == "/v2" {
            return Ok(Self::Version);
        }
        let unknown = || {
            Refusal::not_found(Code::Unsupported, "this registry has no such end-point: it serves pulls only")
        };
        let rest = path.strip_prefix("/v2/").ok_or_else(unknown)?;
        let mut from_tail = rest.rsplitn(3, '/');
        let (Some(last), Some(word), Some(name)) = (from_tail.next(), from_tail.next(), from_tail.next())
        else {
            return Err(unknown());
        };
        let repository = || name.parse().map_err(|invalid| Refusal::malformed(Code::NameInvalid, invalid));
        match (word, last) {
            ("manifests", name) => Ok(Self::Manifest(repository()?, Name::parse(name)?)),
            ("blobs", digest) => Ok(Self::Blob(repository()?, parse_digest(digest)?)),
            ("tags", "list") => Ok(Self::Tags(repository()?, Page::parse(target)?)),
            ("referrers", digest) => {
                let artifact_type = query(target, "artifactType")?
                    .map(|text| text.parse().map_err(|bad| Refusal::malformed(Code::Unsupported, bad)))
                    .transpose()?;
                Ok(Self::Referrers(repository()?, parse_digest(digest)?, artifact_type))
            }
            _ => Err(unknown()),
        }
    }
}

impl Name {
    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.contains(':') {
            return parse_digest(text).map(Self::Digest);
        }
        // What cannot be a tag is a tag that is not there: end-3 fails with nothing but 404.
        text.parse().map(Self::Tag).map_err(|invalid| Refusal::not_found(Code::TagInvalid, invalid))
    }
}

impl Page {
    fn parse(target: &Uri) -> Result<Self, Refusal> {
        let n = match query(target, "n")? {
            None => None,
            Some(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
                // Digits alone fail to parse only where they are too many: more than there can be tags.
                Some(text.parse().unwrap_or(usize::MAX))
            }
            Some(_) => {
                let message = "`n` is not a number of tags";
                return Err(Refusal::malformed(Code::PaginationNumberInvalid, message));
            }
        };
        let last = query(target, "last")?
            .filter(|text| !text.is_empty())
            .map(|text| text.parse().map_err(|invalid| Refusal::malformed(Code::TagInvalid, invalid)))
            .transpose()?;
        Ok(Self { n, last })
    }
}

fn parse_digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|invalid| Refusal::malformed(Code::DigestInvalid, invalid))
}

/// The first value of a query's parameter.
fn query<'a>(target: &'a Uri, name: &str) -> Result<Option<Cow<'a, str>>, Refusal> {
    let pairs = target.query().unwrap_or_default().split('&');
    let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let Some((_, value)) = pairs.find(|(key, _)| *key == name) else { return Ok(None) };
    let malformed = || Refusal::malformed(Code::Unsupported, "the query's percent-encoding is malformed");
    percent::decode(value).map(Some).ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(target: &str) -> Result<Route, (u16, &'static str)> {
        Route::parse(&target.parse().unwrap())
            .map_err(|refusal| (refusal.status.as_u16(), refusal.code.as_str()))
    }

    fn by_tag(repository: &str, tag: &str) -> Route {
        Route::Manifest(repository.parse().unwrap(), Name::Tag(tag.parse().unwrap()))
    }

    #[test]
    fn a_repository_may_have_slashes_and_the_words_of_end_points() {
        assert_eq!(route("/v2/a/manifests/t"), Ok(by_tag("a", "t")));
        assert_eq!(route("/v2/a/b/c/manifests/t"), Ok(by_tag("a/b/c", "t")));
        assert_eq!(route("/v2/a/manifests/manifests/t"), Ok(by_tag("a/manifests", "t")));
        assert_eq!(route("/v2/tags/list/manifests/list"), Ok(by_tag("tags/list", "list")));
        let tags = Route::Tags("a/manifests".parse().unwrap(), Page::default());
        assert_eq!(route("/v2/a/manifests/tags/list"), Ok(tags));
    }

    #[test]
    fn percent_encoding_is_undone_once_and_then_parsed() {
        assert_eq!(route("/v2/a%2Fb/%6danifests/t"), Ok(by_tag("a/b", "t")));
        let hex = "0".repeat(64);
        let digest = format!("sha256:{hex}").parse().unwrap();
        let blob = Route::Blob("a".parse().unwrap(), digest);
        assert_eq!(route(&format!("/v2/a/blobs/sha256%3a{hex}")), Ok(blob));
        assert_eq!(route("/v2/a%252Fb/manifests/t"), Err((400, "NAME_INVALID")));
        for broken in
            ["/v2/a/manifests/%", "/v2/a/manifests/%4", "/v2/a/manifests/%zz", "/v2/%ff/manifests/t"]
        {
            assert_eq!(route(broken), Err((400, "NAME_INVALID")), "{broken}");
        }
    }

    #[test]
    fn what_does_not_parse_is_refused_by_name() {
        assert_eq!(route("/v2/A/manifests/t"), Err((400, "NAME_INVALID")));
        assert_eq!(route("/v2/../manifests/t"), Err((400, "NAME_INVALID")));
        assert_eq!(route("/v2//manifests/t"), Err((400, "NAME_INVALID")));
        assert_eq!(route("/v2/a/manifests/.t"), Err((404, "TAG_INVALID")));
        assert_eq!(route("/v2/a/manifests/"), Err((404, "TAG_INVALID")));
        assert_eq!(route("/v2/a/manifests/sha256:0"), Err((400, "DIGEST_INVALID")));
        assert_eq!(route("/v2/a/blobs/t"), Err((400, "DIGEST_INVALID")));
        assert_eq!(route("/v2/a/referrers/t"), Err((400, "DIGEST_INVALID")));
        assert_eq!(route("/v2/a/tags/list?n=-1"), Err((400, "PAGINATION_NUMBER_INVALID")));
        assert_eq!(route("/v2/a/tags/list?n="), Err((400, "PAGINATION_NUMBER_INVALID")));
        assert_eq!(route("/v2/a/tags/list?last=.t"), Err((400, "TAG_INVALID")));
    }

    #[test]
    fn unknown_end_points_are_not_found() {
        for target in [
            "/",
            "*",
            "/v1/",
            "/v2x",
            "/v2/a",
            "/v2/a/b",
            "/v2/manifests/t",
            "/v2/_catalog",
            "/v2/a/b/tags/lis",
        ] {
            assert_eq!(route(target), Err((404, "UNSUPPORTED")), "{target}");
        }
    }

    #[test]
    fn a_page_is_read_from_the_query() {
        let page = |n, last: Option<&str>| {
            Ok(Route::Tags("a".parse().unwrap(), Page { n, last: last.map(|tag| tag.parse().unwrap()) }))
        };
        assert_eq!(route("/v2/a/tags/list?n=3&last=v1"), page(Some(3), Some("v1")));
        assert_eq!(route("/v2/a/tags/list?last=v%31&x"), page(None, Some("v1")));
        assert_eq!(route("/v2/a/tags/list?n=99999999999999999999999"), page(Some(usize::MAX), None));
    }
}

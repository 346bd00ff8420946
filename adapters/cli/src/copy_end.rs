//! The end of a copy between registries that an error concerns.

use oci_proto::{Cause, Error, InvalidRequest, Reference, Responder, Scope};

/// An end of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyEnd {
    Source,
    Destination,
}

impl CopyEnd {
    /// Returns the end that an error concerns, unless it may be either, as for some errors of token servers.
    pub(crate) fn of(error: &Error, from: &Reference, to: &Reference) -> Option<Self> {
        if matches!(error.cause(), Cause::Request(InvalidRequest::OtherDigest { .. })) {
            return Some(Self::Destination);
        }
        let by = match error.cause() {
            Cause::Answered(refusal) => Some(refusal.by),
            _ => None,
        };
        match error.request() {
            Some((method, url)) => Self::of_request(method.as_str(), url, by, from, to),
            // All documents are those of the source.
            None => Some(Self::Source),
        }
    }

    fn of_request(
        method: &str,
        url: &str,
        by: Option<Responder>,
        from: &Reference,
        to: &Reference,
    ) -> Option<Self> {
        match (is_in(url, from), is_in(url, to)) {
            // The URL of a token request, which has the scope, unless that is in its body.
            _ if url.contains(&format!("={}", Scope::push(to.repository()))) => Some(Self::Destination),
            _ if by == Some(Responder::TokenServer) => None,
            (true, false) => Some(Self::Source),
            // Within one repository, content is fetched from the source alone.
            (true, true) if method == "GET" => Some(Self::Source),
            (_, true) => Some(Self::Destination),
            // The target of a redirect or of an upload, or a token server.
            (false, false) => match method {
                "PUT" | "PATCH" | "DELETE" | "HEAD" => Some(Self::Destination),
                "GET" if by == Some(Responder::Elsewhere) => Some(Self::Source),
                _ => None,
            },
        }
    }
}

/// Whether a URL is one of a repository's endpoints.
fn is_in(url: &str, name: &Reference) -> bool {
    let (authority, repository) = (name.registry().api_authority(), name.repository());
    url.split_once("://")
        .and_then(|(_, rest)| rest.strip_prefix(authority.as_str())?.strip_prefix("/v2/"))
        .and_then(|path| path.strip_prefix(repository.as_str())?.strip_prefix('/'))
        .and_then(|rest| rest.split('/').next())
        .is_some_and(|endpoint| ["blobs", "manifests", "referrers"].contains(&endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_of_the_end_whose_repository_it_names() {
        let (source, destination) = (Some(CopyEnd::Source), Some(CopyEnd::Destination));
        for (from, to, method, url, expected) in [
            ("a.example/x:1", "b.example/x:1", "GET", "https://a.example/v2/x/manifests/1", source),
            ("a.example/x:1", "b.example/x:1", "HEAD", "https://b.example/v2/x/blobs/sha256:0", destination),
            ("a.example/x:1", "b.example/x:1", "GET", "https://b.example/v2/x/manifests/1", destination),
            (
                "a.example/x:1",
                "docker.io/me/x:1",
                "GET",
                "https://registry-1.docker.io/v2/me/x/manifests/1",
                destination,
            ),
            // One host.
            ("a.example/x:1", "a.example/x/y:1", "HEAD", "https://a.example/v2/x/y/manifests/1", destination),
            ("a.example/x/y:1", "a.example/x:1", "GET", "https://a.example/v2/x/y/manifests/1", source),
            ("a.example/x:1", "a.example/x:2", "GET", "https://a.example/v2/x/manifests/1", source),
            ("a.example/x:1", "a.example/x:2", "HEAD", "https://a.example/v2/x/manifests/2", destination),
            ("a.example/x:1", "a.example/x:2", "PUT", "https://a.example/v2/x/manifests/2", destination),
            // The URL of an upload, and that of a token server or the target of a redirect.
            ("a.example/x:1", "b.example/x:1", "PATCH", "https://c.example/upload/1", destination),
            (
                "a.example/x:1",
                "b.example/x:1",
                "GET",
                "https://c.example/token?scope=repository:x:pull",
                None,
            ),
            (
                "a.example/x:1",
                "b.example/x:1",
                "GET",
                "https://c.example/t?scope=repository:x:pull,push",
                destination,
            ),
            ("a.example/x:1", "b.example/x:1", "POST", "https://c.example/token", None),
        ] {
            let end = CopyEnd::of_request(method, url, None, &from.parse().unwrap(), &to.parse().unwrap());
            assert_eq!(end, expected, "{from} to {to}: {method} {url}");
        }
    }

    #[test]
    fn the_target_of_a_redirect_is_of_the_source_and_a_token_server_of_either() {
        let [from, to] = ["a.example/x:1", "b.example/y:1"].map(|name| name.parse().unwrap());
        let end = |method, url, by| CopyEnd::of_request(method, url, Some(by), &from, &to);
        let storage = "https://storage.example/blob";
        assert_eq!(end("GET", storage, Responder::Elsewhere), Some(CopyEnd::Source));
        // On the host of a registry, and under any path.
        let token = "https://b.example/v2/y/manifests/token";
        for method in ["GET", "POST"] {
            assert_eq!(end(method, token, Responder::TokenServer), None);
        }
    }
}

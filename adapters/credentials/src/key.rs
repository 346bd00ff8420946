//! Keys: the registry and repositories that an entry is for.

use std::cmp::Reverse;

use oci_proto::{CredentialsQuery, Registry, Repository};

use crate::entry::Object;

/// The keys of an object that match a query, the best first.
///
/// A longer path is better. Among equivalent keys, the one that Docker writes is best, then the one that
/// Podman writes.
pub(crate) fn matching<'a>(of: &'a Object, query: &CredentialsQuery) -> Vec<Key<'a>> {
    let mut keys: Vec<_> = of.keys().filter_map(|text| Key::for_query(text, query)).collect();
    let registry = &query.registry;
    keys.sort_by_key(|Key { text, path }| {
        Reverse((path.len(), *text == registry.credentials_key(), *text == registry.as_str()))
    });
    keys
}

/// A key that matches a query.
pub(crate) struct Key<'a> {
    pub(crate) text: &'a str,
    /// The path prefix of the repositories; empty for all of them.
    path: &'a str,
}

impl<'a> Key<'a> {
    /// Whether it matches all repositories.
    pub(crate) fn is_registry(&self) -> bool {
        self.path.is_empty()
    }

    fn for_query(text: &'a str, query: &CredentialsQuery) -> Option<Self> {
        let without_scheme = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let (host, path) = match without_scheme {
            Some(rest) => (rest.split_once('/').map_or(rest, |(host, _)| host), ""),
            None => text.split_once('/').unwrap_or((text, "")),
        };
        let path = match path {
            // The base path of an API. A namespace has no slash at its end.
            "v1/" | "v2/" => "",
            path => path.strip_suffix('/').unwrap_or(path),
        };
        let same_registry = host.parse::<Registry>().is_ok_and(|registry| registry == query.registry);
        let below = query.repository.as_ref().map_or("", Repository::as_str).strip_prefix(path)?;
        let same_path = path.is_empty() || below.is_empty() || below.starts_with('/');
        (same_registry && same_path).then_some(Self { text, path })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn best(keys: &[&str], registry: &str, repository: &str) -> Vec<String> {
        let keys: Object = keys.iter().map(|key| (String::from(*key), Value::Null)).collect();
        let query = CredentialsQuery::new(registry.parse().unwrap(), repository.parse().unwrap());
        matching(&keys, &query).into_iter().map(|key| key.text.to_owned()).collect()
    }

    #[test]
    fn a_registry_is_known_by_its_name_and_by_urls() {
        for key in [
            "registry.example:5000",
            "registry.example:5000/",
            "registry.example:5000/v1/",
            "registry.example:5000/v2/",
            "REGISTRY.example:5000",
            "https://registry.example:5000",
            "http://registry.example:5000/",
            "https://registry.example:5000/v1/",
            "https://registry.example:5000/any/path",
        ] {
            assert_eq!(best(&[key], "registry.example:5000", "app"), [key]);
        }
    }

    #[test]
    fn a_key_of_another_registry_does_not_match() {
        for key in [
            "registry.example",
            "registry.example:500",
            "registry.example:5000.evil.example",
            "user@registry.example:5000",
            "https://evil.example/registry.example:5000",
            "evil.example/https://registry.example:5000",
            "oci://registry.example:5000",
            "https:registry.example:5000",
            " registry.example:5000",
            "",
            "/",
            "https://",
        ] {
            assert_eq!(best(&[key], "registry.example:5000", "app"), [""; 0], "{key:?} matched");
        }
        assert_eq!(best(&["registry.example:5000"], "registry.example", "app"), [""; 0]);
    }

    #[test]
    fn docker_hub_has_four_names() {
        let keys = ["registry-1.docker.io", "index.docker.io", "docker.io", "https://index.docker.io/v1/"];
        let best = best(&keys, "docker.io", "library/alpine");
        assert_eq!(
            best,
            ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"]
        );
    }

    #[test]
    fn the_longest_path_is_best_and_ends_between_components() {
        let keys =
            ["quay.io", "quay.io/team", "quay.io/team/app", "quay.io/te", "quay.io/team/app/x", "quay.io/v2"];
        assert_eq!(best(&keys, "quay.io", "team/app"), ["quay.io/team/app", "quay.io/team", "quay.io"]);
        assert_eq!(best(&keys, "quay.io", "team/apple"), ["quay.io/team", "quay.io"]);
        assert_eq!(best(&keys, "quay.io", "v2/app"), ["quay.io/v2", "quay.io"]);
        assert_eq!(best(&["docker.io/library"], "docker.io", "library/alpine"), ["docker.io/library"]);
    }
}

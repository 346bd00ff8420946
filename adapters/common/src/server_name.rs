//! The server of a connection: a host and a port.

use http::Uri;
use oci_proto::Registry;

/// A host, in lower case, and a port of TLS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Server {
    host: String,
    port: u16,
}

impl Server {
    /// The server of a URL with the scheme `https`.
    pub(crate) fn of(url: &Uri) -> Self {
        let host = url.host().unwrap_or_default().to_ascii_lowercase();
        Self { host, port: url.port_u16().unwrap_or(443) }
    }

    /// The server of a registry's API.
    pub(crate) fn of_registry(registry: &Registry) -> Self {
        let authority = registry.api_authority();
        Self { host: authority.host().to_ascii_lowercase(), port: authority.port_u16().unwrap_or(443) }
    }

    /// The names that a directory for this server may have, the first of which takes precedence.
    pub(crate) fn directory_names(&self) -> Vec<String> {
        let Self { host, port } = self;
        // `..` is a host of URLs.
        if host.is_empty() || host.starts_with('.') {
            return Vec::new();
        }
        if *port != 443 {
            return vec![format!("{host}:{port}")];
        }
        let mut names = vec![host.clone(), format!("{host}:{port}")];
        let hub = Registry::docker_hub();
        if *self == Self::of_registry(&hub) {
            names.insert(0, hub.as_str().to_owned());
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_have_the_names_of_registries() {
        for (url, names) in [
            ("https://Registry.example/v2/", &["registry.example", "registry.example:443"][..]),
            ("https://registry.example:443/", &["registry.example", "registry.example:443"]),
            ("https://registry.example:5000/", &["registry.example:5000"]),
            ("https://[::1]:5000/", &["[::1]:5000"]),
            (
                "https://registry-1.docker.io/",
                &["docker.io", "registry-1.docker.io", "registry-1.docker.io:443"],
            ),
            ("https://../", &[]),
            ("https://..:5000/", &[]),
            ("https://.", &[]),
        ] {
            assert_eq!(Server::of(&url.parse().unwrap()).directory_names(), names, "{url}");
        }
    }
}

//! A token server that issues tokens for docker-registry, and records the requests.

pub(crate) mod issuer;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use issuer::{Rules, TokenRequest};
use serde_json::json;
use tempfile::TempDir;

use crate::interop::docker_registry::Settings;
use crate::interop::host::{Host, bind};
use crate::wire::write_reply;

pub(super) use issuer::Issuer;

/// A token server that runs until it is dropped.
#[derive(Debug)]
pub struct TokenServer {
    _host: Host,
    issuer: Arc<Issuer>,
    folder: TempDir,
}

impl TokenServer {
    /// Starts a token server with these rules.
    ///
    /// # Panics
    /// No port, randomness or temporary directory is available.
    pub fn start(rules: Rules) -> Self {
        let listener = bind();
        let address: SocketAddr = listener.local_addr().expect("a listener has an address");
        let issuer = Arc::new(Issuer::new(rules, address));
        let folder = TempDir::with_prefix("token-server-").expect("a temporary folder can be created");
        fs::write(folder.path().join("root.pem"), issuer.pem()).expect("a temporary file can be written");
        let answering = issuer.clone();
        let host = Host::on(listener, move |asked, stream| {
            write_reply(stream, &asked.method, &answering.answer(asked))
        });
        Self { _host: host, issuer, folder }
    }

    /// The requests since the last call, in order of arrival.
    pub fn take(&self) -> Vec<TokenRequest> {
        self.issuer.take()
    }

    /// The configuration that makes docker-registry require its tokens.
    ///
    /// Source: docker-registry, configuration.md, "token".
    #[must_use]
    pub fn rule(&self, settings: Settings) -> Settings {
        settings.with(
            &["auth", "token"],
            json!({
                "realm": self.issuer.realm(),
                "service": issuer::SERVICE,
                "issuer": issuer::ISSUER,
                "rootcertbundle": self.folder.path().join("root.pem"),
            }),
        )
    }
}

//! A token server: hands out tokens that docker-registry takes, and remembers who asked for what.

mod desk;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;
use tempfile::TempDir;

pub(super) use desk::Desk;
pub use desk::{Rules, TokenRequest, Who};

use super::Settings;
use super::host::{Host, bind};
use crate::wire::write_reply;

/// A token server that runs until this is dropped.
#[derive(Debug)]
pub struct TokenServer {
    _host: Host,
    desk: Arc<Desk>,
    folder: TempDir,
}

impl TokenServer {
    /// Starts a token server with these rules.
    ///
    /// # Panics
    /// There is no port, no randomness or no temporary folder to be had.
    pub fn start(rules: Rules) -> Self {
        let listener = bind();
        let address: SocketAddr = listener.local_addr().expect("a listener has an address");
        let desk = Arc::new(Desk::new(rules, address));
        let folder = TempDir::with_prefix("token-server-").expect("a temporary folder can be made");
        fs::write(folder.path().join("root.pem"), desk.pem()).expect("a temporary file can be written");
        let answering = desk.clone();
        let host = Host::on(listener, move |asked, stream| {
            write_reply(stream, &asked.method, &answering.answer(asked))
        });
        Self { _host: host, desk, folder }
    }

    /// The requests since the last call, in the order in which they came.
    pub fn take(&self) -> Vec<TokenRequest> {
        self.desk.take()
    }

    /// What makes docker-registry ask for its tokens.
    ///
    /// Source: docker-registry, configuration.md, "token".
    #[must_use]
    pub fn rule(&self, settings: Settings) -> Settings {
        settings.with(
            &["auth", "token"],
            json!({
                "realm": self.desk.realm(),
                "service": desk::SERVICE,
                "issuer": desk::ISSUER,
                "rootcertbundle": self.folder.path().join("root.pem"),
            }),
        )
    }
}

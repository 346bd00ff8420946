//! The clients, each built as by its users.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http::header::ACCEPT;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_proto::{Descriptor, Digest, Reference};
use oci_proto_common::Settings;
use oci_proto_tokio::credentials::Store;
use tokio::runtime::{self, Runtime};
use ureq::Agent;

use crate::content::REPOSITORY;
use crate::fallible::Fallible;
use crate::task::Place;

pub(crate) fn tokio() -> Fallible<oci_proto_tokio::Client> {
    Ok(oci_proto_tokio::Client::with_settings(Settings::default().credentials(Store::none()))?)
}

pub(crate) fn ureq() -> Fallible<oci_proto_ureq::Client> {
    Ok(oci_proto_ureq::Client::with_settings(Settings::default().credentials(Store::none()))?)
}

pub(crate) fn oci_client() -> oci_client::Client {
    // One that was installed earlier will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    oci_client::Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() })
}

pub(crate) fn raw_hyper() -> Pool<HttpConnector, Empty<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Pool::builder(TokioExecutor::new()).build(connector)
}

pub(crate) fn raw_ureq() -> Agent {
    Agent::config_builder().no_delay(true).proxy(None).build().into()
}

/// A runtime on the current thread.
pub(crate) fn one_thread() -> Fallible<Runtime> {
    Ok(runtime::Builder::new_current_thread().enable_all().build()?)
}

/// A runtime with a thread for each core.
pub(crate) fn all_cores() -> Fallible<Runtime> {
    Ok(runtime::Builder::new_multi_thread().enable_all().build()?)
}

impl Place {
    pub(crate) fn tag(&self, tag: &str) -> Fallible<Reference> {
        Ok(format!("{}/{REPOSITORY}:{tag}", self.registry).parse()?)
    }

    pub(crate) fn digest(&self, digest: &Digest) -> Fallible<Reference> {
        Ok(format!("{}/{REPOSITORY}@{digest}", self.registry).parse()?)
    }

    pub(crate) fn their_tag(&self, tag: &str) -> oci_client::Reference {
        oci_client::Reference::with_tag(self.registry.clone(), REPOSITORY.to_owned(), tag.to_owned())
    }

    pub(crate) fn their_digest(&self, digest: &Digest) -> oci_client::Reference {
        oci_client::Reference::with_digest(self.registry.clone(), REPOSITORY.to_owned(), digest.to_string())
    }

    /// The URL of a manifest, or of a blob.
    pub(crate) fn url(&self, kind: &str, digest: &Digest) -> Fallible<String> {
        let address: SocketAddr = self.registry.parse()?;
        Ok(format!("http://{address}/v2/{REPOSITORY}/{kind}/{digest}"))
    }
}

/// docker-registry serves manifests only with this Accept.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, */*";

/// Downloads with hyper, discards the bytes, and returns their number.
pub(crate) async fn drop_with_hyper(client: &Pool<HttpConnector, Empty<Bytes>>, url: &str) -> Fallible<u64> {
    let request = Request::get(url).header(ACCEPT, ACCEPTED).body(Empty::new())?;
    let mut response = client.request(request).await?;
    if !response.status().is_success() {
        return Err(format!("{url}: {}", response.status()).into());
    }
    let mut count = 0;
    while let Some(frame) = response.frame().await {
        count += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(count)
}

/// Downloads with ureq, discards the bytes, and returns their number.
pub(crate) fn drop_with_ureq(agent: &Agent, url: &str, buffer: &mut [u8]) -> Fallible<u64> {
    let body = agent.get(url).header(ACCEPT, ACCEPTED).call()?.into_body();
    let mut reader = body.into_with_config().limit(u64::MAX).reader();
    let mut count = 0;
    loop {
        match std::io::Read::read(&mut reader, buffer)? {
            0 => return Ok(count),
            read => count += read as u64,
        }
    }
}

/// Checks that all of the content arrived.
pub(crate) fn expect_all(of: &Descriptor, count: u64) -> Fallible<()> {
    if count == of.size { Ok(()) } else { Err(format!("{count} bytes of {}", of.digest).into()) }
}

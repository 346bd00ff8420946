//! Pulls an image with its layers to disk. The cost is that of the whole process, as for external programs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_proto::{Config, PlainHttp, PullOptions};
use oci_proto_common::Settings;
use oci_proto_tokio::credentials::Store;
use oci_proto_tokio::layout::{Durability, LayoutDestination};
use tokio::fs::File;

use crate::child::clients;
use crate::distant::CERTIFICATE;
use crate::fallible::Fallible;
use crate::task::Place;

/// The durability of the files of the other clients.
const PEERS: Durability = Durability::Unsynced;

pub(crate) fn run(client: &str, place: &Place, tag: &str, out: &Path) -> Fallible<()> {
    match client {
        "tokio" => clients::all_cores()?.block_on(async {
            let mirror = LayoutDestination::at(out, PEERS)?;
            clients::tokio()?.pull(&place.tag(tag)?, mirror, PullOptions::default()).await?;
            Ok(())
        }),
        "ureq" => {
            let mirror = LayoutDestination::at(out, PEERS)?;
            clients::ureq()?.pull(&place.tag(tag)?, mirror, PullOptions::default())?;
            Ok(())
        }
        "oci-client" => clients::all_cores()?.block_on(oci_client(place, tag, out, false)),
        "oci-client, tasks" => clients::all_cores()?.block_on(oci_client(place, tag, out, true)),
        _ => Err(format!("no such client: {client}").into()),
    }
}

/// Pulls over TLS, and trusts the certificate among the notes of a server.
pub(crate) fn trusting(client: &str, place: &Place, tag: &str, out: &Path, notes: &Path) -> Fallible<()> {
    let mut config = Config::default();
    config.plain_http = PlainHttp::Never;
    let settings = Settings::default()
        .config(config)
        .credentials(Store::none())
        .add_root_certificates_pem(&fs::read(notes.join(CERTIFICATE))?)?;
    let mirror = LayoutDestination::at(out, PEERS)?;
    match client {
        "tokio" => clients::all_cores()?.block_on(async {
            let client = oci_proto_tokio::Client::with_settings(settings)?;
            client.pull(&place.tag(tag)?, mirror, PullOptions::default()).await?;
            Ok(())
        }),
        "ureq" => {
            let client = oci_proto_ureq::Client::with_settings(settings)?;
            client.pull(&place.tag(tag)?, mirror, PullOptions::default())?;
            Ok(())
        }
        _ => Err(format!("no such client: {client}").into()),
    }
}

/// oci-client's own `pull` keeps all layers in memory. This does the same with files instead: as many at a
/// time, in one task, or in one task each.
async fn oci_client(place: &Place, tag: &str, out: &Path, tasks: bool) -> Fallible<()> {
    const AT_ONCE: usize = 16;
    fs::create_dir(out)?;
    let client = Arc::new(clients::oci_client());
    let image = place.their_tag(tag);
    let (manifest, _) = client.pull_image_manifest(&image, &RegistryAuth::Anonymous).await?;
    fs::write(out.join("manifest.json"), serde_json::to_vec(&manifest)?)?;
    let blobs = [&manifest.config].into_iter().chain(&manifest.layers).cloned();
    let pulls = blobs.map(|blob: OciDescriptor| {
        let (client, image, path) = (client.clone(), image.clone(), out.join(&blob.digest));
        async move {
            let file = File::create(path).await?;
            client.pull_blob(&image, &blob, file).await?;
            Fallible::Ok(())
        }
    });
    if tasks {
        stream::iter(pulls.map(tokio::spawn))
            .buffer_unordered(AT_ONCE)
            .map(|joined| joined?)
            .try_collect::<()>()
            .await
    } else {
        stream::iter(pulls).buffer_unordered(AT_ONCE).try_collect::<()>().await
    }
}

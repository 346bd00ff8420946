//! Pushes an image, and copies it between registries. The cost is that of the whole process, as for external programs.

use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{Method, Request};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use oci_client::client::{Config, ImageLayer};
use oci_client::secrets::RegistryAuth;
use oci_proto::Descriptor;
use oci_proto_common::TransferOptions;
use oci_proto_tokio::layout::Layout;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::child::clients;
use crate::content;
use crate::fallible::Fallible;
use crate::task::Place;

/// The uploads of the bare clients at a time, as many as our clients send to one registry.
const AT_ONCE: usize = 8;

/// Without a `repository`, each run begins in a new one.
pub(crate) fn push(client: &str, place: &Place, tag: &str, repository: Option<&str>) -> Fallible<()> {
    let to = match repository {
        Some(repository) => format!("{}/{repository}:{tag}", place.registry).parse()?,
        None => format!("{}/push-{}:1", place.registry, std::process::id()).parse()?,
    };
    let root = content::root(&place.content, tag)?;
    match client {
        "tokio" => clients::all_cores()?.block_on(async {
            let options = TransferOptions::default();
            clients::tokio()?.push(&root, &to, place.content.clone(), options).await?;
            Ok(())
        }),
        "ureq" => Ok(clients::ureq()?.push(&root, &to, &place.content, TransferOptions::default())?),
        "hyper alone" => clients::all_cores()?.block_on(bare(place, tag, false)),
        "hyper and sha2" => clients::all_cores()?.block_on(bare(place, tag, true)),
        "oci-client" => clients::all_cores()?.block_on(oci_client(place, tag)),
        _ => Err(format!("no such client: {client}").into()),
    }
}

pub(crate) fn copy(client: &str, place: &Place, tag: &str, destination: &str) -> Fallible<()> {
    let from = place.tag(tag)?;
    let to = format!("{destination}/copy-{}:1", std::process::id()).parse()?;
    let options = TransferOptions::default();
    match client {
        "tokio" => clients::all_cores()?.block_on(async {
            clients::tokio()?.copy(&from, &to, options).await?;
            Ok(())
        }),
        "ureq" => {
            clients::ureq()?.copy(&from, &to, options)?;
            Ok(())
        }
        _ => Err(format!("no such client: {client}").into()),
    }
}

/// Uploads the layers with two requests each, from their files, and nothing else. With `is_hashed`, each is hashed beside.
async fn bare(place: &Place, tag: &str, is_hashed: bool) -> Fallible<()> {
    type Body = BoxBody<Bytes, std::io::Error>;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Pool<HttpConnector, Body> = Pool::builder(TokioExecutor::new()).build(connector);
    let base = format!("http://{}", place.registry);
    let repository = format!("bare-{}", std::process::id());
    let nothing = || Empty::new().map_err(|never| match never {}).boxed();
    let layers = content::layers(&place.content, tag)?;
    let uploads = layers.iter().map(|layer| async {
        let uri = format!("{base}/v2/{repository}/blobs/uploads/");
        let post = Request::post(uri).header(CONTENT_LENGTH, 0).body(nothing())?;
        let begun = client.request(post).await?;
        let location = begun.headers().get(LOCATION).ok_or("no Location")?.to_str()?;
        let location =
            if location.starts_with('/') { format!("{base}{location}") } else { location.to_owned() };
        let uri = format!("{location}&digest={}", layer.digest);
        let put = Request::builder()
            .method(Method::PUT)
            .uri(uri)
            .header(CONTENT_LENGTH, layer.size)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(read(&place.content, layer, is_hashed)?)?;
        let stored = client.request(put).await?;
        if stored.status() != 201 {
            return Err(format!("PUT: {}", stored.status()).into());
        }
        Fallible::Ok(())
    });
    stream::iter(uploads).buffer_unordered(AT_ONCE).try_collect().await
}

fn read(content: &Layout, layer: &Descriptor, is_hashed: bool) -> Fallible<BoxBody<Bytes, std::io::Error>> {
    const CHUNK: usize = 256 << 10;
    let mut file = content.open_unverified(&layer.digest)?;
    let (sender, receiver) = mpsc::channel(1);
    let expected = layer.digest.encoded();
    tokio::task::spawn_blocking(move || {
        let mut hasher = Sha256::new();
        loop {
            let mut chunk = vec![0; CHUNK];
            match file.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(read) => {
                    chunk.truncate(read);
                    if is_hashed {
                        hasher.update(&chunk);
                    }
                    if sender.blocking_send(Bytes::from(chunk)).is_err() {
                        break;
                    }
                }
            }
        }
        if is_hashed {
            let hash = hasher.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            assert_eq!(hash, expected);
        }
    });
    let frames = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|chunk| (Ok::<_, std::io::Error>(Frame::data(chunk)), receiver))
    });
    Ok(BoxBody::new(StreamBody::new(frames)))
}

/// It pushes from memory.
async fn oci_client(place: &Place, tag: &str) -> Fallible<()> {
    let client = Arc::new(clients::oci_client());
    let manifest = place.content.manifest(&content::root(&place.content, tag)?)?;
    let image = oci_client::Reference::with_tag(
        place.registry.clone(),
        format!("push-{}", std::process::id()),
        "1".to_owned(),
    );
    let bytes = |of: &Descriptor| -> Fallible<Vec<u8>> {
        let mut bytes = Vec::new();
        place.content.open_unverified(&of.digest)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let layers = manifest
        .entries()
        .map(|layer| {
            let layer = layer.to_owned();
            Ok(ImageLayer::new(bytes(&layer)?, layer.media_type.to_string(), None))
        })
        .collect::<Fallible<Vec<_>>>()?;
    let config = manifest.config().ok_or("an image has a config")?.to_owned();
    let config = Config::new(bytes(&config)?, config.media_type.to_string(), None);
    client.push(&image, &layers, config, &RegistryAuth::Anonymous, None).await?;
    Ok(())
}

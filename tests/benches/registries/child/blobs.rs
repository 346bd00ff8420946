//! Downloads the layers of an image: verifies them, and discards them.

use std::io::{self, Read as _};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use oci_proto::Descriptor;
use sha2::{Digest as _, Sha256};

use crate::child::clients::{self, drop_with_hyper, drop_with_ureq, expect_all};
use crate::content;
use crate::fallible::Fallible;
use crate::task::{Meter, Place, spent};

/// The chunk size of clients with a choice.
const CHUNK: usize = 128 << 10;

pub(crate) fn one_by_one(client: &str, place: &Place, tag: &str) -> Fallible<()> {
    let layers = content::layers(&place.content, tag)?;
    let mut buffer = vec![0; CHUNK];
    match client {
        "tokio" => clients::one_thread()?.block_on(async {
            let client = clients::tokio()?;
            let meter = Meter::start();
            for layer in &layers {
                let reference = place.digest(&layer.digest)?;
                client.blob_to(&reference, Some(layer.size), tokio::io::sink()).await?;
            }
            meter.stop();
            Ok(())
        }),
        "ureq" => {
            let client = clients::ureq()?;
            let meter = Meter::start();
            for layer in &layers {
                client.blob_to(&place.digest(&layer.digest)?, Some(layer.size), io::sink())?;
            }
            meter.stop();
            Ok(())
        }
        "hyper alone" => clients::one_thread()?.block_on(async {
            let client = clients::raw_hyper();
            let meter = Meter::start();
            for layer in &layers {
                expect_all(layer, drop_with_hyper(&client, &place.url("blobs", &layer.digest)?).await?)?;
            }
            meter.stop();
            Ok(())
        }),
        "ureq alone" => {
            let client = clients::raw_ureq();
            let meter = Meter::start();
            for layer in &layers {
                let url = place.url("blobs", &layer.digest)?;
                expect_all(layer, drop_with_ureq(&client, &url, &mut buffer)?)?;
            }
            meter.stop();
            Ok(())
        }
        "sha2 alone" => hash(place, &layers, &mut buffer),
        _ => Err(format!("no such client: {client}").into()),
    }
}

/// Hashes the same bytes. Reading them is not measured.
#[expect(clippy::print_stdout, reason = "read by the parent")]
fn hash(place: &Place, layers: &[Descriptor], buffer: &mut [u8]) -> Fallible<()> {
    let (mut wall, mut cpu) = (Duration::ZERO, Duration::ZERO);
    for layer in layers {
        let mut file = place.content.open_unverified(&layer.digest)?;
        let mut hasher = Sha256::new();
        loop {
            let read = file.read(buffer)?;
            if read == 0 {
                break;
            }
            let (start, before) = (Instant::now(), spent());
            hasher.update(&buffer[..read]);
            cpu += spent().saturating_sub(before);
            wall += start.elapsed();
        }
        let hash = hasher.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        if hash != layer.digest.encoded() {
            return Err(format!("{} has other bytes", layer.digest).into());
        }
    }
    println!("took {} {}", wall.as_nanos(), cpu.as_nanos());
    Ok(())
}

pub(crate) fn at_once(client: &str, place: &Place, tag: &str) -> Fallible<()> {
    let layers = content::layers(&place.content, tag)?;
    match client {
        "tokio" => clients::all_cores()?.block_on(async {
            let client = clients::tokio()?;
            let meter = Meter::start();
            let mut tasks = Vec::new();
            for layer in &layers {
                let (client, size, reference) = (client.clone(), layer.size, place.digest(&layer.digest)?);
                tasks.push(tokio::spawn(async move {
                    client.blob_to(&reference, Some(size), tokio::io::sink()).await
                }));
            }
            for task in tasks {
                task.await??;
            }
            meter.stop();
            Ok(())
        }),
        "ureq" => {
            let client = clients::ureq()?;
            let meter = Meter::start();
            let each = |layer: &Descriptor| -> Fallible<u64> {
                Ok(client.blob_to(&place.digest(&layer.digest)?, Some(layer.size), io::sink())?)
            };
            thread::scope(|scope| {
                let threads: Vec<_> = layers.iter().map(|layer| scope.spawn(|| each(layer))).collect();
                threads.into_iter().try_for_each(|thread| match thread.join() {
                    Ok(outcome) => outcome.map(drop),
                    Err(_) => Err("a thread panicked".into()),
                })
            })?;
            meter.stop();
            Ok(())
        }
        // Like its own `pull`: all in one task.
        "oci-client" => clients::all_cores()?.block_on(async {
            let client = clients::oci_client();
            let image = place.their_tag(tag);
            let meter = Meter::start();
            let layers: Vec<_> = layers.iter().map(theirs).collect();
            let pulls = layers.iter().map(|layer| client.pull_blob(&image, layer, tokio::io::sink()));
            futures_util::future::try_join_all(pulls).await?;
            meter.stop();
            Ok(())
        }),
        "oci-client, tasks" => clients::all_cores()?.block_on(async {
            let client = Arc::new(clients::oci_client());
            let image = place.their_tag(tag);
            let meter = Meter::start();
            let tasks: Vec<_> = layers
                .iter()
                .map(|layer| {
                    let (client, image, layer) = (client.clone(), image.clone(), theirs(layer));
                    tokio::spawn(async move { client.pull_blob(&image, &layer, tokio::io::sink()).await })
                })
                .collect();
            for task in tasks {
                task.await??;
            }
            meter.stop();
            Ok(())
        }),
        _ => Err(format!("no such client: {client}").into()),
    }
}

fn theirs(layer: &Descriptor) -> oci_client::manifest::OciDescriptor {
    oci_client::manifest::OciDescriptor {
        media_type: layer.media_type.to_string(),
        digest: layer.digest.to_string(),
        size: layer.size.try_into().unwrap_or(i64::MAX),
        ..Default::default()
    }
}

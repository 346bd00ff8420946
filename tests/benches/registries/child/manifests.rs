//! 2,000 manifests one after another, each by its digest, over an established connection.

use oci_client::secrets::RegistryAuth;
use oci_proto::{Descriptor, MediaType};

use crate::child::clients::{self, drop_with_hyper, drop_with_ureq, expect_all};
use crate::content;
use crate::fallible::Fallible;
use crate::task::{Meter, Place};

pub(crate) fn run(client: &str, place: &Place) -> Fallible<()> {
    let images = content::images(&place.content)?;
    let (warm, images) = (images.last().ok_or("the content has no images")?.clone(), images);
    match client {
        "tokio" => clients::one_thread()?.block_on(tokio(place, &warm, &images)),
        "ureq" => ureq(place, &warm, &images),
        "hyper alone" => clients::one_thread()?.block_on(hyper(place, &warm, &images)),
        "ureq alone" => ureq_alone(place, &warm, &images),
        "oci-client" => clients::one_thread()?.block_on(oci_client(place, &warm, &images)),
        _ => Err(format!("no such client: {client}").into()),
    }
}

/// Exactly one request for each manifest.
fn expect_one_each(sent: u64, images: &[Descriptor]) -> Fallible<()> {
    let wanted = images.len() as u64;
    if sent == wanted { Ok(()) } else { Err(format!("{sent} requests for {wanted} manifests").into()) }
}

async fn tokio(place: &Place, warm: &Descriptor, images: &[Descriptor]) -> Fallible<()> {
    let client = clients::tokio()?;
    client.manifest(&place.digest(&warm.digest)?, None).await?;
    let (meter, before) = (Meter::start(), client.metrics().requests);
    for image in images {
        client.manifest(&place.digest(&image.digest)?, None).await?;
    }
    meter.stop();
    expect_one_each(client.metrics().requests - before, images)
}

fn ureq(place: &Place, warm: &Descriptor, images: &[Descriptor]) -> Fallible<()> {
    let client = clients::ureq()?;
    client.manifest(&place.digest(&warm.digest)?, None)?;
    let (meter, before) = (Meter::start(), client.metrics().requests);
    for image in images {
        client.manifest(&place.digest(&image.digest)?, None)?;
    }
    meter.stop();
    expect_one_each(client.metrics().requests - before, images)
}

async fn hyper(place: &Place, warm: &Descriptor, images: &[Descriptor]) -> Fallible<()> {
    let client = clients::raw_hyper();
    drop_with_hyper(&client, &place.url("manifests", &warm.digest)?).await?;
    let meter = Meter::start();
    for image in images {
        let url = place.url("manifests", &image.digest)?;
        expect_all(image, drop_with_hyper(&client, &url).await?)?;
    }
    meter.stop();
    Ok(())
}

fn ureq_alone(place: &Place, warm: &Descriptor, images: &[Descriptor]) -> Fallible<()> {
    let client = clients::raw_ureq();
    let mut buffer = vec![0; 8 << 10];
    drop_with_ureq(&client, &place.url("manifests", &warm.digest)?, &mut buffer)?;
    let meter = Meter::start();
    for image in images {
        let url = place.url("manifests", &image.digest)?;
        expect_all(image, drop_with_ureq(&client, &url, &mut buffer)?)?;
    }
    meter.stop();
    Ok(())
}

pub(crate) async fn oci_client(place: &Place, warm: &Descriptor, images: &[Descriptor]) -> Fallible<()> {
    let client = clients::oci_client();
    let accepted = [MediaType::OCI_MANIFEST.as_str()];
    let auth = RegistryAuth::Anonymous;
    client.pull_manifest_raw(&place.their_digest(&warm.digest), &auth, &accepted).await?;
    let meter = Meter::start();
    for image in images {
        client.pull_manifest(&place.their_digest(&image.digest), &auth).await?;
    }
    meter.stop();
    Ok(())
}

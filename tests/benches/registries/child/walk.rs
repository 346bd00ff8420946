//! Walks an index of 1,000 images. oci-client has no walk: it fetches the same manifests one after another.

use futures_util::TryStreamExt as _;
use oci_proto::WalkOptions;

use crate::child::{clients, manifests};
use crate::content;
use crate::content::{CHILDREN, INDEX};
use crate::fallible::Fallible;
use crate::task::{Meter, Place};

pub(crate) fn run(client: &str, place: &Place) -> Fallible<()> {
    match client {
        "tokio" => clients::all_cores()?.block_on(tokio(place)),
        "ureq" => ureq(place),
        "oci-client" => {
            let images = content::images(&place.content)?;
            let images = images.get(..CHILDREN).ok_or("too few images")?;
            clients::one_thread()?.block_on(manifests::oci_client(place, &images[0], images))
        }
        _ => Err(format!("no such client: {client}").into()),
    }
}

async fn tokio(place: &Place) -> Fallible<()> {
    let client = clients::tokio()?;
    let meter = Meter::start();
    let walk = client.walk(&place.tag(INDEX)?, WalkOptions::default());
    let count = walk.try_fold(0, |count, _| std::future::ready(Ok(count + 1))).await?;
    meter.stop();
    expect_all(count)
}

fn ureq(place: &Place) -> Fallible<()> {
    let client = clients::ureq()?;
    let meter = Meter::start();
    let mut count = 0;
    for node in client.walk(&place.tag(INDEX)?, WalkOptions::default()) {
        node?;
        count += 1;
    }
    meter.stop();
    expect_all(count)
}

fn expect_all(count: usize) -> Fallible<()> {
    if count == CHILDREN + 1 { Ok(()) } else { Err(format!("{count} nodes").into()) }
}

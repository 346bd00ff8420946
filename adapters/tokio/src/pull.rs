//! Whole trees into layouts on disk.

use std::future::{pending, poll_fn};
use std::panic::resume_unwind;
use std::sync::Arc;

use oci_proto::layout::RefName;
use oci_proto::{Descriptor, Event, Fault, FaultKind};
use oci_proto_layout::{LayoutError, Mirror, PullError};
use tokio::task::{JoinSet, spawn_blocking};

use crate::Transport;
use crate::call::Call;
use crate::carrying::{Carrying, Progress};
use crate::driver::Shared;
use crate::mailbox::Letter;

/// Keeps what a pull brings; the root's descriptor.
pub(crate) async fn pull<T: Transport>(
    mut call: Call<T>,
    mirror: Mirror,
    name: Option<RefName>,
) -> Result<Descriptor, PullError> {
    let mirror = Arc::new(mirror);
    // Dropped with this future, they end too.
    let mut tasks = JoinSet::new();
    let mut root = None;
    loop {
        while tasks.try_join_next().is_some() {}
        match poll_fn(|cx| call.poll_letter(cx)).await {
            Letter::Carry(carrying) => {
                tasks.spawn(carry(carrying, mirror.clone(), call.shared().clone()));
            }
            Letter::Event(Event::Resolved(descriptor)) => root = Some(descriptor),
            Letter::Event(Event::Wanted(descriptor)) => {
                let digest = descriptor.digest.clone();
                let held = blocking(&mirror, move |mirror| mirror.wanted(&descriptor)).await?;
                call.held(&digest, held);
            }
            Letter::Event(Event::Verified(digest)) => {
                blocking(&mirror, move |mirror| mirror.verified(&digest)).await?;
            }
            Letter::Event(Event::Store(descriptor, bytes)) => {
                blocking(&mirror, move |mirror| mirror.store(&descriptor, &bytes)).await?;
            }
            Letter::Event(Event::Skipped(descriptor)) => mirror.skipped(&descriptor),
            Letter::Event(Event::Failed(error)) => return Err(error.into()),
            Letter::Event(Event::Done) => {
                let root: Descriptor = root.expect("a session resolves before it is done");
                let descriptor = root.clone();
                blocking(&mirror, move |mirror| mirror.done(&descriptor, name.as_ref())).await?;
                return Ok(root);
            }
            Letter::Event(_) => {}
        }
    }
}

/// Carries an exchange whose body goes into its blob's file.
async fn carry<T: Transport>(mut carrying: Box<Carrying<T>>, mirror: Arc<Mirror>, shared: Arc<Shared<T>>) {
    loop {
        let completion = match poll_fn(|cx| carrying.poll(cx)).await {
            Progress::Chunk(bytes) => {
                let Some(sink) = carrying.sink() else { continue };
                match blocking(&mirror, move |mirror| mirror.append(&sink, &bytes)).await {
                    Ok(()) => continue,
                    Err(error) => carrying.fail(Fault::new(FaultKind::Sink, error)),
                }
            }
            Progress::Ended => carrying.settle(),
        };
        if let Some(completion) = completion {
            shared.complete(completion);
        }
        return;
    }
}

/// Reads or writes files where that holds nobody up.
async fn blocking<R: Send + 'static>(
    mirror: &Arc<Mirror>,
    work: impl FnOnce(&Mirror) -> Result<R, LayoutError> + Send + 'static,
) -> Result<R, LayoutError> {
    let mirror = mirror.clone();
    match spawn_blocking(move || work(&mirror)).await {
        Ok(result) => result,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime shuts down, and this future with it.
            Err(_) => pending().await,
        },
    }
}

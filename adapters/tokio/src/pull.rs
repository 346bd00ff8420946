//! Whole trees into layouts on disk.

use std::future::{pending, poll_fn};
use std::mem;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use oci_proto::layout::RefName;
use oci_proto::{Descriptor, Event, Fault, FaultKind, Sink};
use oci_proto_layout::{LayoutDestination, LayoutError, PullError};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;

use crate::Transport;
use crate::call::Call;
use crate::carrying::{Carrying, Progress};
use crate::driver::Shared;
use crate::mailbox::Letter;

/// Keeps what a pull brings; the root's descriptor.
pub(crate) async fn pull<T: Transport>(
    mut call: Call<T>,
    mirror: LayoutDestination,
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

/// How many bytes of a blob are written at a time: to go to another thread costs as much as to write a part of this.
const PIECE: usize = 512 << 10;
/// How long bytes wait for others to be written with: where few come, each is seen, and kept, soon.
const GATHERING: Duration = Duration::from_millis(100);

/// Carries an exchange whose body goes into its blob's file.
async fn carry<T: Transport>(
    mut carrying: Box<Carrying<T>>,
    mirror: Arc<LayoutDestination>,
    shared: Arc<Shared<T>>,
) {
    let mut piece = Piece::default();
    let mut written = Instant::now();
    let completion = loop {
        let ended = match poll_fn(|cx| carrying.poll(cx)).await {
            Progress::Chunk(bytes) => {
                if let Some(sink) = carrying.sink() {
                    piece.add(sink, bytes);
                }
                false
            }
            Progress::Ended => true,
        };
        if ended || piece.size >= PIECE || written.elapsed() >= GATHERING {
            // Before the exchange is settled: what came is in the file then, even where no more came.
            let full = mem::take(&mut piece);
            if let Err(error) = blocking(&mirror, move |mirror| full.append_to(mirror)).await {
                break carrying.fail(Fault::new(FaultKind::Sink, error));
            }
            written = Instant::now();
        }
        if ended {
            break carrying.settle();
        }
    };
    if let Some(completion) = completion {
        shared.complete(completion);
    }
}

/// Bytes of a blob that follow each other, and that wait to be written.
#[derive(Default)]
struct Piece {
    chunks: Vec<(Sink, Bytes)>,
    size: usize,
}

impl Piece {
    /// Adds bytes, which end where the sink is by now.
    fn add(&mut self, sink: Sink, bytes: Bytes) {
        self.size += bytes.len();
        self.chunks.push((sink, bytes));
    }

    fn append_to(self, mirror: &LayoutDestination) -> Result<(), LayoutError> {
        self.chunks.iter().try_for_each(|(sink, bytes)| mirror.append(sink, bytes))
    }
}

/// Reads or writes files where that holds nobody up.
async fn blocking<R: Send + 'static>(
    mirror: &Arc<LayoutDestination>,
    work: impl FnOnce(&LayoutDestination) -> Result<R, LayoutError> + Send + 'static,
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

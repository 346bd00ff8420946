//! A layout as the destination of a pull.

use std::sync::{Arc, OnceLock, Weak, mpsc};
use std::thread;
use std::time::Duration;

use oci_proto::{Algorithm, Config, Digest, Output, Session, Time};
use oci_proto_layout::oci_proto;
use oci_proto_layout::{LayoutDestination, LayoutWriter, Progress};

#[test]
fn a_progress_hook_may_write_to_the_blob_that_it_is_told_of() {
    let mut session = Session::new(Config::default(), 0);
    let digest = Digest::of(Algorithm::Sha256, b"abcdef");
    session.blob(&format!("registry.example/a@{digest}").parse().unwrap(), Some(6));
    let output = session.poll_output(Time::ZERO);
    let Output::Send(exchange) = output else { panic!("{output:?}") };
    let blob = exchange.sink().unwrap().clone();
    let sink = move |offset| {
        let mut sink = blob.clone();
        sink.offset = offset;
        sink
    };
    let home = tempfile::tempdir().unwrap();
    let writer = LayoutWriter::open(home.path()).unwrap();
    let itself = Arc::new(OnceLock::<Weak<LayoutDestination>>::new());
    let (called, at) = (itself.clone(), sink.clone());
    let destination = Arc::new(LayoutDestination::new(writer).on_progress(move |progress| {
        let next = match progress {
            Progress::Received(_, 3) => (5, b"de".as_slice()),
            Progress::Restarted(_) => (2, b"b".as_slice()),
            _ => return,
        };
        let destination = called.get().and_then(Weak::upgrade).unwrap();
        destination.append(&at(next.0), next.1).unwrap();
    }));
    itself.set(Arc::downgrade(&destination)).unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        destination.append(&sink(3), b"abc").unwrap();
        destination.append(&sink(1), b"a").unwrap();
        tell.send(()).unwrap();
    });
    told.recv_timeout(Duration::from_secs(10)).expect("the hook is called under a lock");
}

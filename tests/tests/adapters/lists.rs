//! Lists on both adapters.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use oci_proto::{Error, LimitExceeded, Reference};
use oci_proto_tests::clients::{MAKERS, settings};

/// A registry with an endless list of tags, two on a page, and the number of pages that it has sent.
fn endless() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let page = counter.fetch_add(1, Ordering::SeqCst);
            let body = format!(r#"{{"tags":["a{page}","b{page}"]}}"#);
            let head = format!(
                "HTTP/1.1 200 OK\r\nLink: <?p={page}>; rel=\"next\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            // The client may be gone.
            let _ = (&stream).write_all((head + &body).as_bytes());
        }
    });
    (address, sent)
}

#[test]
fn a_list_is_read_one_page_ahead_of_its_reader() {
    for (name, make) in MAKERS {
        let (address, sent) = endless();
        let reference: Reference = format!("{address}/app").parse().unwrap();
        let mut config = oci_proto::Config::default();
        config.limits.list_entries = 40;
        let adapter = make(&settings().config(config));
        let mut taken = 0;
        let listed = adapter.tags(&reference, None, &mut |tag| {
            taken += 1;
            if tag.as_str().starts_with('a') {
                // Time to read ahead.
                thread::sleep(Duration::from_millis(20));
                let (page, sent) = (taken / 2 + 1, sent.load(Ordering::SeqCst));
                assert!((page..=page + 1).contains(&sent), "{name}: page {page} of {sent}");
            }
        });
        let cause = listed.as_ref().map_err(Error::cause).unwrap_err();
        assert_eq!(*cause, LimitExceeded::ListEntries(40).into(), "{name}: {listed:?}");
        assert_eq!(taken, 40, "{name}");
    }
}

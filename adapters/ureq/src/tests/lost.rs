//! Exchanges that are lost during the download of a blob.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use oci_proto::{Algorithm, Digest, Reference};

use crate::client::Client;

/// Serves a whole blob for each request, and counts the requests.
fn serve(blob: Vec<u8>) -> (Reference, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let digest = Digest::of(Algorithm::Sha256, &blob);
    let reference = format!("{}/demo@{digest}", listener.local_addr().unwrap()).parse().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, blob, count) = (BufReader::new(stream.unwrap()), blob.clone(), count.clone());
            thread::spawn(move || {
                while (&mut stream)
                    .lines()
                    .take_while(|line| line.as_ref().is_ok_and(|l| !l.is_empty()))
                    .count()
                    > 0
                {
                    count.fetch_add(1, Ordering::SeqCst);
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len());
                    let _ = stream.get_mut().write_all(&[head.as_bytes(), &blob].concat());
                }
            });
        }
    });
    (reference, asked)
}

/// Makes the session abandon its exchanges in flight and send the requests again.
fn lose(client: &Client, reference: &Reference) {
    let call = client.call("blob", |session| session.blob(reference, None));
    let mut state = call.shared().lock();
    state.session.abandon_in_flight(call.shared().now());
    state.stale = true;
}

fn blob() -> Vec<u8> {
    (0_u32..).flat_map(u32::to_le_bytes).take(500_000).collect()
}

#[test]
fn a_blob_that_starts_over_fails_its_writer() {
    struct Losing<'a>(&'a Client, &'a Reference, Vec<u8>);
    impl Write for Losing<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if (100_000..200_000).contains(&self.2.len()) {
                lose(self.0, self.1);
            }
            self.2.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (reference, asked) = serve(blob());
    let client = Client::new().unwrap();
    let mut writer = Losing(&client, &reference, Vec::new());
    let error = client.blob_to(&reference, None, &mut writer).unwrap_err();
    assert!(error.to_string().contains("the blob starts over at byte 0, after "), "{error}");
    assert!(blob().starts_with(&writer.2), "{} bytes, or others", writer.2.len());
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the blob was fetched again");
}

#[test]
fn a_blob_that_starts_over_fails_its_reader() {
    let (reference, asked) = serve(blob());
    let client = Client::new().unwrap();
    let mut reader = client.blob(&reference, None);
    let mut read = vec![0; 100_000];
    reader.read_exact(&mut read).unwrap();
    lose(&client, &reference);
    let error = reader.read_to_end(&mut read).unwrap_err();
    assert!(error.to_string().contains("the blob starts over at byte 0, after "), "{error}");
    assert!(blob().starts_with(&read), "{} bytes, or others", read.len());
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the blob was fetched again");
}

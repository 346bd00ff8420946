//! Responses that come before the end of an upload.

use std::io::{self, BufReader, Cursor, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use oci_proto::{Digest, PlainHttp, Reference};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::client::Client;
use crate::tests::upload::{
    CREATED, begin, body, client, content, head, put, put_with, serve, serve_until, settings,
};

const PROCESSING: &str = "HTTP/1.1 102 Processing\r\n\r\n";
const FORBIDDEN: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A source that counts the bytes that were read.
struct Counted {
    bytes: Cursor<Vec<u8>>,
    read: Arc<AtomicUsize>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.read.fetch_add(read, Ordering::Relaxed);
        Ok(read)
    }
}

/// The server reads to the end of the stream, stops reading, or closes the connection.
#[test]
fn an_early_response_ends_the_payload() {
    type After = fn(BufReader<TcpStream>, &mpsc::Receiver<()>);
    let reading: After = |mut stream, _| drop(io::copy(&mut stream, &mut io::sink()));
    let stopping: After = |_stream, over| assert!(over.recv().is_err());
    let closing: After = |stream, _| stream.get_ref().shutdown(Shutdown::Both).unwrap();
    let (bytes, digest) = content(30_000_000);
    let hints = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "x".repeat(10_000));
    for (interim, after) in [
        (String::new(), reading),
        (String::new(), stopping),
        (String::new(), closing),
        (format!("{PROCESSING}{PROCESSING}"), reading),
        (PROCESSING.to_owned(), stopping),
        (format!("{PROCESSING}{hints}"), stopping),
    ] {
        let (over, wait) = mpsc::channel();
        let server = serve(move |stream| {
            let mut stream = BufReader::new(stream);
            head(&mut stream);
            stream.get_mut().write_all(interim.as_bytes()).unwrap();
            // The final response may arrive later than the interim ones.
            body(&mut stream, 1_000_000);
            stream.get_mut().write_all(FORBIDDEN).unwrap();
            after(stream, &wait);
        });
        let read = Arc::default();
        let source = Counted { bytes: Cursor::new(bytes.clone()), read: Arc::clone(&read) };
        let error = put(&server.reference, &digest, bytes.len(), source).unwrap_err();
        assert_eq!(error.status().map(|status| status.as_u16()), Some(403), "{error}");
        assert!(read.load(Ordering::Relaxed) < bytes.len(), "the source was read to its end");
        drop(over);
        server.thread.join().unwrap();
    }
}

/// Under TLS, the client notices only that the server closes the connection.
#[test]
fn an_early_response_over_tls_ends_the_payload() {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signed.signing_key.serialize_der().into());
    let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let (tls, mut before) = (Arc::new(tls), 2);
    let server = serve_until(move |stream| {
        let connection = ServerConnection::new(tls.clone()).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(connection, stream));
        if before > 0 {
            before -= 1;
            begin(&mut stream);
            stream.get_mut().conn.send_close_notify();
            stream.get_mut().flush().unwrap();
            return None;
        }
        head(&mut stream);
        stream.get_mut().write_all(FORBIDDEN).unwrap();
        stream.get_mut().flush().unwrap();
        stream.get_ref().sock.shutdown(Shutdown::Both).unwrap();
        Some(())
    });
    let trusting = settings(PlainHttp::Never).add_root_certificates_pem(signed.cert.pem().as_bytes());
    let client = Client::with_settings(trusting.unwrap()).unwrap();
    let (bytes, digest) = content(30_000_000);
    let read = Arc::default();
    let source = Counted { bytes: Cursor::new(bytes.clone()), read: Arc::clone(&read) };
    let error = put_with(&client, &server.reference, &digest, bytes.len(), source).unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(403), "{error}");
    assert!(read.load(Ordering::Relaxed) < bytes.len(), "the source was read to its end");
    server.thread.join().unwrap();
}

/// The response does not close the connection, but the server waits for the rest of the payload.
#[test]
fn an_early_response_closes_its_connection() {
    let (bytes, digest) = content(30_000_000);
    let size = bytes.len();
    let server = serve(move |stream| {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut stream = BufReader::new(stream);
        head(&mut stream);
        stream.get_mut().write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").unwrap();
        io::copy(&mut stream, &mut io::sink())
    });
    // Dropping the client would close the connection too.
    let client = client();
    let error = put_with(&client, &server.reference, &digest, size, Cursor::new(bytes)).unwrap_err();
    assert_eq!(error.status().map(|status| status.as_u16()), Some(403), "{error}");
    match server.thread.join().unwrap() {
        Ok(came) => assert!(came < size as u64, "the payload was completed"),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
    }
    drop(client);
}

/// The source of one payload sends another, whose response comes early.
#[test]
fn an_early_response_ends_only_its_own_payload() {
    struct Nesting(Cursor<Vec<u8>>, Reference, Digest);
    impl Read for Nesting {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.position() == 0 {
                put(&self.1, &self.2, SIZE, self.0.clone()).unwrap_err();
            }
            self.0.read(buffer)
        }
    }
    const SIZE: usize = 3_000_000;
    let (bytes, digest) = content(SIZE);
    let refusing = serve(move |stream| {
        let mut stream = BufReader::new(stream);
        head(&mut stream);
        stream.get_mut().write_all(FORBIDDEN).unwrap();
        io::copy(&mut stream, &mut io::sink()).is_ok()
    });
    let server = serve(move |stream| {
        let mut stream = BufReader::new(stream);
        head(&mut stream);
        let body = body(&mut stream, SIZE);
        stream.get_mut().write_all(CREATED).unwrap();
        body
    });
    let source = Nesting(Cursor::new(bytes.clone()), refusing.reference.clone(), digest.clone());
    put(&server.reference, &digest, SIZE, source).unwrap();
    assert!(server.thread.join().unwrap() == bytes, "other bytes were sent");
    refusing.thread.join().unwrap();
}

#[test]
fn an_interim_response_does_not_end_the_payload() {
    let (bytes, digest) = content(3_000_000);
    let size = bytes.len();
    let server = serve(move |stream| {
        let mut stream = BufReader::new(stream);
        head(&mut stream);
        stream.get_mut().write_all(PROCESSING.as_bytes()).unwrap();
        let came = body(&mut stream, size).len();
        stream.get_mut().write_all(CREATED).unwrap();
        came
    });
    put(&server.reference, &digest, size, Cursor::new(bytes)).unwrap();
    assert_eq!(server.thread.join().unwrap(), size);
}

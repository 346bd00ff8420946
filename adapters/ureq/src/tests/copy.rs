//! Copies between registries whose downloads or uploads fail.

use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use oci_proto::{Algorithm, Config, Digest, PushOptions};
use oci_proto_common::Settings;

use crate::client::Client;
use crate::tests::upload::{CREATED, body, content, head};

/// Serves each connection on a thread of its own, with the lines of the head of its only request, in lower case.
fn serve(answer: impl Fn(BufReader<TcpStream>, &[String]) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (BufReader::new(stream.unwrap()), Arc::clone(&answer));
            thread::spawn(move || {
                let head = head(&mut stream);
                answer(stream, &head);
            });
        }
    });
    address
}

/// Sends a response, and closes the connection.
fn respond(stream: &mut BufReader<TcpStream>, start: &str, length: usize, body: &[u8]) {
    let head = format!("HTTP/1.1 {start}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.get_mut().write_all(&[head.as_bytes(), body].concat()).unwrap();
}

/// A layer has a URL, which serves half of it, and then nothing. The upload waits for more at that time.
#[test]
fn bytes_of_the_next_location_of_a_blob_are_not_read_by_the_upload_that_the_former_one_fed() {
    let (layer, digest) = content(3000);
    let served = layer.clone();
    let asked = AtomicUsize::new(0);
    let source = serve(move |mut stream, lines| {
        let host = lines.iter().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let config = Digest::of(Algorithm::Sha256, b"{}");
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{config}","size":2,"data":"e30="}},
            "layers":[{{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar",
            "digest":"{digest}","size":{},"urls":["http://{host}/elsewhere"]}}]}}"#,
            served.len()
        );
        match lines[0].split(' ').nth(1).unwrap() {
            "/elsewhere" if asked.fetch_add(1, Ordering::SeqCst) == 0 => {
                respond(&mut stream, "200 OK", served.len(), &served[..1500]);
            }
            path if path.ends_with(&format!("/blobs/{digest}")) => {
                respond(&mut stream, "200 OK", served.len(), &served);
            }
            "/v2/demo/manifests/1" => {
                let start = "200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json";
                respond(&mut stream, start, manifest.len(), manifest.as_bytes());
            }
            _ => respond(&mut stream, "404 Not Found", 0, b""),
        }
    });
    let sent = AtomicUsize::new(0);
    let destination = serve(move |mut stream, lines| {
        let length = lines.iter().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        let session = "Location: /v2/demo/blobs/uploads/1?state=x";
        match lines[0].split(' ').next().unwrap() {
            "post" => respond(&mut stream, &format!("202 Accepted\r\n{session}"), 0, b""),
            "get" => respond(&mut stream, &format!("204 No Content\r\n{session}\r\nRange: 0-0"), 0, b""),
            "put" if length == 3000 && sent.fetch_add(1, Ordering::SeqCst) == 0 => {
                assert!(body(&mut stream, length).len() < length);
            }
            "put" => {
                let whole = body(&mut stream, length);
                let is_right = length != 3000 || whole == layer;
                stream
                    .get_mut()
                    .write_all(if is_right { CREATED } else { b"HTTP/1.1 400 \r\n\r\n" })
                    .unwrap();
            }
            _ => respond(&mut stream, "404 Not Found", 0, b""),
        }
    });
    let mut config = Config::default();
    config.limits.backoff_first = Duration::ZERO;
    let client = Client::with_settings(Settings::default().config(config)).unwrap();
    let mut options = PushOptions::default();
    options.foreign = true;
    let (from, to) = (format!("{source}/demo:1"), format!("{destination}/demo:1"));
    client.copy(&from.parse().unwrap(), &to.parse().unwrap(), options.into()).unwrap();
}

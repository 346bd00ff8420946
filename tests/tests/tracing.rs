//! What both adapters tell those who look in: spans and events of `tracing`, and counters. The subscriber is the process's,
//! so this test has one of its own.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use oci_proto::{Config, Reference};
use oci_proto_tests::clients::{MAKERS, settings};
use tracing_subscriber::fmt::format::FmtSpan;

const BODY: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// Answers requests on one connection: the first with 503, the others with an empty index. Whatever comes after `/cut` is
/// cut off.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    let (mut head, mut requests) = (Vec::new(), 0);
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        requests += 1;
        if requests == 1 {
            stream.write_all(b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 4\r\n\r\nbusy")?;
            continue;
        }
        let length = if head.starts_with(b"GET /v2/demo/manifests/cut") { 1000 } else { BODY.len() };
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\n\
             Warning: 299 - \"moving soon\"\r\nContent-Length: {length}\r\n\r\n{BODY}"
        )?;
        if length > BODY.len() {
            return Ok(());
        }
    }
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl io::Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn operations_requests_and_retries_are_told_and_counted() {
    let heard = Heard::default();
    let writer = heard.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .without_time()
        .init();
    let mut config = Config::default();
    config.limits.backoff_first = Duration::from_millis(1);
    config.limits.max_attempts = 2;
    for (name, make) in MAKERS {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A client closes its connection without a word.
                let _ = serve(stream.unwrap());
            }
        });
        let client = make(&settings().config(config.clone()));
        let demo: Reference = format!("{address}/demo:1").parse().unwrap();
        client.manifest(&demo, None).unwrap();
        let metrics = client.metrics();
        let counted = [
            metrics.operations,
            metrics.requests,
            metrics.broken_requests,
            metrics.retries,
            metrics.connections,
            metrics.bytes_sent,
            metrics.bytes_received,
        ];
        assert_eq!(counted, [1, 2, 0, 1, 1, 0, 4 + BODY.len() as u64], "{name}");

        let cut: Reference = format!("{address}/demo:cut").parse().unwrap();
        client.manifest(&cut, None).unwrap_err();
        assert!(client.metrics().broken_requests >= 1, "{name}: {:?}", client.metrics());
        drop(client);

        let text = String::from_utf8(std::mem::take(&mut *heard.0.lock().unwrap())).unwrap();
        let own: Vec<&str> = text.lines().filter(|line| line.contains("oci_proto:")).collect();
        let has = |parts: &[&str]| own.iter().any(|line| parts.iter().all(|part| line.contains(part)));
        let operation = r#"operation{verb="manifest"}"#;
        let request = format!("request{{request=GET http://{address}/v2/demo/manifests/1");
        for parts in [
            &["DEBUG", operation, &request, "status=503 sent=0 received=4", "settled"][..],
            &["DEBUG", operation, &request, "status=200 sent=0 received=88", "close"],
            &["INFO", operation, "retry", "503 Service Unavailable", "failed=1"],
            &["WARN", operation, "moving soon"],
            &["DEBUG", operation, "fault=reset"],
        ] {
            assert!(has(parts), "{name}: {parts:?} is missing in\n{text}");
        }
        let ends = own.iter().filter(|line| line.ends_with("close") && !line.contains("request{"));
        assert_eq!(ends.filter(|line| line.contains(operation)).count(), 2, "{name}: {text}");
    }
}

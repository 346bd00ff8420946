//! The example drivers fulfil the duties of a driver.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "the examples do I/O")]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use driver::Driver;
use http::{Method, Response};
use loopback::{Framed, Loopback, PATIENCE, Request, read_head, respond, write_response};
use oci_proto::server::{Memory, Server};
use oci_proto::{Algorithm, Credentials, Digest, Error};

mod driver;
mod loopback;
#[path = "../../examples/owned_buffers.rs"]
#[expect(dead_code, reason = "the test calls what `main` calls")]
mod owned_buffers;
#[path = "../../examples/walk_over_tcp/main.rs"]
#[expect(dead_code, reason = "the tests call what `main` calls")]
mod walk_over_tcp;

#[test]
fn a_walk_over_tcp_supports_every_framing_and_skips_interim_responses() {
    let (memory, root) = Memory::sample();
    let mut trees = Vec::new();
    for framed in [Framed::Length, Framed::Chunked, Framed::UntilClosed] {
        let mut content = Server::new();
        content.add(&"demo".parse().unwrap(), "latest".parse().ok().as_ref(), &root, &memory).unwrap();
        let memory = memory.clone();
        let registry = Loopback::start(move |request, stream| {
            stream
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n")?;
            write_response(stream, &respond(&content, &memory, request), framed)
        });
        let mut out = Vec::new();
        walk_over_tcp::walk(&registry.reference("demo"), &mut out).unwrap();
        trees.push(String::from_utf8(out).unwrap());
    }
    let [by_length, chunked, until_closed] = &trees[..] else { panic!("{trees:?}") };
    assert_eq!(by_length.lines().count(), 11, "{by_length}");
    assert_eq!(by_length.lines().next(), Some(&*format!("index {} {}", root.digest, root.size)));
    assert_eq!(chunked, by_length);
    assert_eq!(until_closed, by_length);
}

#[test]
fn one_connection_carries_a_walk_and_drains_unwanted_bodies() {
    let (memory, root) = Memory::sample();
    let mut content = Server::new();
    content.add(&"demo".parse().unwrap(), "latest".parse().ok().as_ref(), &root, &memory).unwrap();
    let registry = Loopback::start(move |request, stream| {
        let Some(path) = request.target.strip_suffix("?moved") else {
            let to = format!("{}?moved", request.target);
            let moved = Response::builder().status(307).header("location", to);
            return write_response(
                stream,
                &moved.body(Bytes::from_static(b"elsewhere")).unwrap(),
                Framed::Chunked,
            );
        };
        let request = Request { target: path.to_owned(), ..request.clone() };
        write_response(stream, &respond(&content, &memory, &request), Framed::Length)
    });
    walk_over_tcp::walk(&registry.reference("demo"), &mut io::sink()).unwrap();
    assert_eq!(registry.connections(), 1);
}

#[test]
fn an_interrupted_blob_is_resumed_in_its_sink() {
    let blob = (0..100_000_u32).map(|i| i.to_le_bytes()[0]).collect::<Bytes>();
    let (digest, content) = (Digest::of(Algorithm::Sha256, &blob), blob.clone());
    let registry = Loopback::start(move |request, stream| {
        let head = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes";
        match request.headers.get("range") {
            None => {
                // Half of the first chunk, then the end of the connection.
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186A0\r\n")?;
                stream.write_all(&content[..40_000])?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Some(range) => {
                assert_eq!(range, "bytes=40000-");
                write!(stream, "{head} 40000-99999/100000\r\nContent-Length: 60000\r\n\r\n")?;
                stream.write_all(&content[40_000..])
            }
        }
    });
    let reference = registry.reference(&format!("demo@{digest}"));
    let mut driver = Driver::default();
    let op = driver.session.blob(&reference, None);
    driver.run(op).unwrap();
    assert_eq!(driver.contents.sinks[&digest], blob);
    assert_eq!(driver.contents.flushed, [digest]);
}

#[test]
fn a_token_is_fetched_by_post() {
    let (memory, root) = Memory::sample();
    let mut content = Server::new();
    content.add(&"demo".parse().unwrap(), "latest".parse().ok().as_ref(), &root, &memory).unwrap();
    let registry = Loopback::start(move |request, stream| {
        let response = Response::builder();
        let response = match (&request.method, request.headers.get("authorization")) {
            (&Method::POST, _) => {
                let asked = String::from_utf8_lossy(&request.body);
                assert!(asked.contains("refresh_token=hunter2"), "{asked}");
                response.body(Bytes::from_static(br#"{"access_token":"abc"}"#)).unwrap()
            }
            (_, None) => {
                let challenge = format!("Bearer realm=\"http://{}/token\",service=\"s\"", request.host);
                response.status(401).header("www-authenticate", challenge).body(Bytes::new()).unwrap()
            }
            (_, Some(token)) => {
                assert_eq!(token, "Bearer abc");
                respond(&content, &memory, request)
            }
        };
        write_response(stream, &response, Framed::Length)
    });
    let mut driver = Driver::default();
    driver.login = Some(Credentials::Identity("hunter2".into()));
    let op = driver.session.resolve(&registry.reference("demo"), None);
    driver.run(op).unwrap();
}

#[test]
fn a_request_on_a_closed_idle_connection_is_retried() {
    let registry = Loopback::start(|request, stream| {
        let body = format!("{{\"errors\":[{{\"code\":\"DENIED\",\"message\":\"{}\"}}]}}", request.target);
        let denied = Response::builder().status(403).body(Bytes::from(body)).unwrap();
        write_response(stream, &denied, Framed::Length)?;
        // The response does not announce this.
        Err(io::ErrorKind::ConnectionAborted.into())
    });
    let mut driver = Driver::default();
    for repository in ["one", "two"] {
        let op =
            driver.session.resolve(&registry.reference(repository), Some(&"linux/amd64".parse().unwrap()));
        let error = driver.run(op).unwrap_err().to_string();
        assert!(error.contains(repository) && error.contains("403"), "{error}");
        registry.closed();
    }
    assert_eq!(driver.retried, ["the request was not sent"]);
    assert_eq!(registry.connections(), 2);
}

#[test]
fn a_connection_with_connection_close_is_not_reused() {
    let registry = Loopback::start(|_, stream| {
        let denied =
            Response::builder().status(403).header("connection", "x, Close").body(Bytes::new()).unwrap();
        write_response(stream, &denied, Framed::Length)?;
        Err(io::ErrorKind::ConnectionAborted.into())
    });
    let mut driver = Driver::default();
    for _ in 0..2 {
        let op = driver.session.resolve(&registry.reference("demo"), Some(&"linux/amd64".parse().unwrap()));
        driver.run(op).unwrap_err();
        registry.closed();
    }
    assert!(driver.retried.is_empty(), "{:?}", driver.retried);
    assert_eq!(registry.connections(), 2);
}

#[test]
fn a_body_without_a_framed_end_is_a_fault() {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "SSH-2.0-server\r\n\r\n",
    ] {
        let registry = Loopback::start(move |_, stream| {
            stream.write_all(response.as_bytes())?;
            Err(io::ErrorKind::ConnectionAborted.into())
        });
        let mut driver = Driver::new(1);
        let digest = Digest::of(Algorithm::Sha256, b"hello");
        let op = driver.session.blob(&registry.reference(&format!("demo@{digest}")), None);
        let error = driver.run(op).expect_err(response).to_string();
        assert!(error.contains("the connection broke"), "{response}: {error}");
    }
}

#[test]
fn an_exchange_times_out_only_without_progress() {
    let blob = Bytes::from_static(b"0123456789");
    let (digest, content) = (Digest::of(Algorithm::Sha256, &blob), blob.clone());
    let registry = Loopback::start(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")?;
        // Takes longer than the idle timeout of the driver.
        for byte in content.chunks(1) {
            thread::sleep(Duration::from_millis(100));
            stream.write_all(byte)?;
        }
        Ok(())
    });
    let mut driver = Driver::new(1);
    let op = driver.session.blob(&registry.reference(&format!("demo@{digest}")), None);
    driver.run(op).unwrap();

    let registry = Loopback::start_raw(|stream| io::copy(stream, &mut io::sink()).map(drop));
    let op = driver.session.blob(&registry.reference(&format!("demo@{digest}")), None);
    let error = driver.run(op).unwrap_err().to_string();
    assert!(error.contains("timed out"), "{error}");
}

#[test]
fn the_number_of_interim_responses_is_limited() {
    let registry = Loopback::start(|_, stream| {
        for _ in 0..10_000 {
            stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")?;
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    });
    let mut driver = Driver::new(1);
    let op = driver.session.resolve(&registry.reference("demo"), None);
    let error = driver.run(op).unwrap_err().to_string();
    assert!(error.contains("too many 1xx responses"), "{error}");
}

#[test]
fn a_file_is_uploaded_over_tcp_and_resumed_after_its_connection_broke() {
    let content: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
    let file = std::env::temp_dir().join(format!("oci-proto-upload-{}", std::process::id()));
    std::fs::write(&file, &content).unwrap();
    let (sent, requests) = mpsc::channel();
    let stored = std::sync::Mutex::new(Vec::new());
    let registry = Loopback::start_raw(move |stream| {
        let mut reader = io::BufReader::new(stream.try_clone()?);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if io::BufRead::read_line(&mut reader, &mut head)? == 0 {
                    return Ok(());
                }
            }
            let first = head.lines().next().unwrap_or_default().to_owned();
            let method = first.split(' ').next().unwrap_or_default().to_owned();
            let header = |name: &str| {
                head.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
            };
            let length = header("content-length:").map_or(0, |length| length.parse().unwrap());
            let mut stored = stored.lock().unwrap();
            sent.send(format!("{method} {}", header("content-range:").unwrap_or_default())).unwrap();
            let answer = match &*method {
                "HEAD" => "404 Not Found\r\n".to_owned(),
                "POST" => "202 Accepted\r\nLocation: /upload?state=1\r\n".to_owned(),
                "GET" => format!("204 No Content\r\nRange: 0-{}\r\n", stored.len() - 1),
                "PUT" if stored.is_empty() => {
                    // The connection breaks in the middle.
                    stored.resize(length / 2, 0);
                    return reader.read_exact(&mut stored);
                }
                _ => {
                    let start = stored.len();
                    stored.resize(start + length, 0);
                    reader.read_exact(&mut stored[start..])?;
                    sent.send(Digest::of(Algorithm::Sha256, &stored).to_string()).unwrap();
                    "201 Created\r\n".to_owned()
                }
            };
            let body = if answer.starts_with("204") { "" } else { "Content-Length: 0\r\n" };
            stream.write_all(format!("HTTP/1.1 {answer}{body}\r\n").as_bytes())?;
        }
    });
    let mut out = Vec::new();
    let uploaded = walk_over_tcp::upload(&registry.reference("demo"), &file, &mut out);
    std::fs::remove_file(&file).unwrap();
    uploaded.unwrap();
    let digest = Digest::of(Algorithm::Sha256, &content).to_string();
    assert_eq!(String::from_utf8(out).unwrap(), format!("{digest} 300000 Sent\n"));
    let requests: Vec<String> = requests.try_iter().collect();
    let expected = ["HEAD ", "POST ", "PUT ", "GET ", "PUT 150000-299999", &digest];
    assert_eq!(requests, expected);
}

mod payloads {
    use std::iter;

    use oci_proto::{Descriptor, MediaType, Reference};

    use super::*;

    fn upload(driver: &mut Driver, to: &Reference, content: &[u8]) -> Result<(), Error> {
        let digest = Digest::of(Algorithm::Sha256, content);
        let blob = Descriptor::new(MediaType::OCTET_STREAM, digest, content.len() as u64);
        let op = driver.session.upload(to, &blob, None);
        driver.run(op)
    }

    /// Responds to the requests of an upload. The blob does not exist yet.
    fn respond_to(method: &Method, stream: &mut TcpStream) -> io::Result<()> {
        let response = match *method {
            Method::HEAD => Response::builder().status(404),
            Method::POST => Response::builder().status(202).header("location", "/upload"),
            _ => Response::builder().status(201),
        };
        write_response(stream, &response.body(Bytes::new()).unwrap(), Framed::Length)
    }

    /// Responds to the requests before the one with the content, and reads the head of that one.
    fn until_content(stream: &mut TcpStream) -> io::Result<io::BufReader<TcpStream>> {
        let mut reader = io::BufReader::new(stream.try_clone()?);
        loop {
            let request = read_head(&mut reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            if [Method::PUT, Method::PATCH].contains(&request.method) {
                return Ok(reader);
            }
            respond_to(&request.method, stream)?;
        }
    }

    #[test]
    fn a_payload_is_read_from_its_source_and_sent_with_its_length() {
        let content: Vec<u8> = iter::repeat_n(*b"0123456789", 10_000).flatten().collect();
        let (put_content, (sent, received)) = (content.clone(), mpsc::channel());
        let registry = Loopback::start(move |request, stream| {
            if request.method == Method::PUT {
                sent.send((request.headers["content-length"].clone(), request.body.clone())).unwrap();
            }
            respond_to(&request.method, stream)
        });
        let mut driver = Driver::default();
        driver.contents.add_source(put_content);
        upload(&mut driver, &registry.reference("demo"), &content).unwrap();
        let (length, body) = received.recv_timeout(PATIENCE).unwrap();
        assert_eq!(length, "100000");
        assert_eq!(body, content);
    }

    #[test]
    fn an_upload_with_wrong_content_is_never_completed() {
        let content: Vec<u8> = iter::repeat_n(*b"0123456789", 10_000).flatten().collect();
        let (sent, received) = mpsc::channel();
        let registry = Loopback::start_raw(move |stream| {
            let mut bytes = Vec::new();
            until_content(stream)?.read_to_end(&mut bytes)?;
            sent.send(bytes).map_err(io::Error::other)
        });
        let mut driver = Driver::default();
        let digest = Digest::of(Algorithm::Sha256, &content);
        let mut other = content.clone();
        other[5] = b'x';
        driver.contents.sources.insert(digest, other);
        let error = upload(&mut driver, &registry.reference("demo"), &content).unwrap_err().to_string();
        assert!(error.contains("digest mismatch: computed"), "{error}");
        drop(driver);
        let bytes = received.recv_timeout(PATIENCE).expect("the request's head is sent");
        assert!(bytes.len() < content.len());
    }

    /// After the whole blob, chunks are refused too.
    #[test]
    fn an_early_response_stops_the_payload() {
        let content = vec![0; 64 << 20];
        let (sent, received) = mpsc::channel();
        let registry = Loopback::start_raw(move |stream| {
            let mut reader = until_content(stream)?;
            stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")?;
            stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")?;
            let read = io::copy(&mut reader, &mut io::sink())?;
            sent.send(read).map_err(io::Error::other)
        });
        let mut driver = Driver::default();
        driver.contents.add_source(content.clone());
        let error = upload(&mut driver, &registry.reference("demo"), &content).unwrap_err().to_string();
        assert!(error.contains("413"), "{error}");
        let read = received.recv_timeout(PATIENCE).unwrap();
        assert!(read < content.len() as u64, "{read} bytes were sent");
    }

    /// The session does not ask for the status of an upload whose PUT cannot have arrived.
    #[test]
    fn any_request_is_retried_if_it_was_not_sent() {
        let (content, (sent, requests)) = (b"content".to_vec(), mpsc::channel());
        let registry = Loopback::start(move |request, stream| {
            sent.send(request.method.clone()).map_err(io::Error::other)?;
            respond_to(&request.method, stream)?;
            // The response does not announce this.
            let closes = request.method == Method::POST;
            if closes { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
        });
        let to = registry.reference("demo");
        let mut driver = Driver::default();
        driver.contents.add_source(content.clone());
        let mut is_first = true;
        driver.before = Box::new(move |exchange| {
            if exchange.request().method() == Method::PUT && std::mem::take(&mut is_first) {
                registry.closed();
            }
        });
        upload(&mut driver, &to, &content).unwrap();
        assert_eq!(driver.retried, ["the request was not sent"]);
        let requests: Vec<Method> = requests.try_iter().collect();
        assert_eq!(requests, [Method::HEAD, Method::POST, Method::PUT]);
    }
}

#[test]
fn owned_buffers_reach_the_sink_without_a_copy() {
    let report = owned_buffers::run().unwrap();
    assert_eq!(report.bytes, 600_000);
    assert!(report.pieces > 60, "{report:?}");
    assert!(report.parts > 0, "a resumed blob starts within a chunk: {report:?}");
}

//! Uploads that are interrupted, refused or cancelled.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use oci_proto::{Algorithm, Config, Credentials, Descriptor, Digest, MediaType, Reference, Stored};
use oci_proto_common::{BlobSource, Settings, StreamOptions, TransferOptions, UploadOptions};
use oci_proto_tests::adapter::Adapter;
use oci_proto_tests::clients::{MAKERS, settings};
use oci_proto_tests::interop::{Fate, Reply, UploadRegistry};
use oci_proto_tokio::credentials::Store;

use crate::notices::serve;

/// A registry with a script, a repository in it, and a client with short delays and small chunks.
fn start(
    make: fn(&Settings) -> Box<dyn Adapter>,
    script: &[Fate],
) -> (UploadRegistry, Reference, Box<dyn Adapter>) {
    let registry = UploadRegistry::start(script.to_vec());
    let reference = format!("{}/demo", registry.address()).parse().unwrap();
    let mut config = Config::default();
    config.limits.backoff_first = Duration::from_millis(5);
    config.limits.chunk_bytes = 300_000;
    (registry, reference, make(&settings().config(config)))
}

fn content(size: usize) -> (Bytes, Descriptor) {
    let bytes: Vec<u8> = (0_u32..).flat_map(u32::to_le_bytes).take(size).collect();
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    (bytes.into(), Descriptor::new(MediaType::OCTET_STREAM, digest, size as u64))
}

const SIZE: usize = 1_000_000;

/// Uploads content in each way.
fn in_every_way(
    adapter: &dyn Adapter,
    reference: &Reference,
    way: &str,
    bytes: &Bytes,
    descriptor: &Descriptor,
) -> Result<(), oci_proto::Error> {
    match way {
        "source" => {
            let source = Arc::new(bytes.clone());
            let stored = adapter.upload(reference, descriptor, source, UploadOptions::default())?;
            assert_eq!(stored, Stored::Sent);
        }
        "reader" => {
            let found = adapter.upload_stream(reference, &mut &bytes[..], StreamOptions::default())?;
            assert_eq!(found, *descriptor);
        }
        _ => {
            let mut parts = bytes.chunks(77_777).map(<[u8]>::to_vec);
            let found = adapter.blob_write(reference, &mut parts, StreamOptions::default());
            let found = found.map_err(|error| error.downcast::<oci_proto::Error>().unwrap())?;
            assert_eq!(found, *descriptor);
        }
    }
    Ok(())
}

/// A registry checks the digest of a large blob before it responds.
#[test]
fn a_large_blob_may_take_longer_to_be_stored_than_a_small_one() {
    let (large, descriptor) = content(100 << 20);
    for (name, make) in MAKERS {
        let slow = Fate::Slow(Duration::from_millis(2_500));
        let registry = UploadRegistry::start([slow.clone(), slow]);
        let reference: Reference = format!("{}/demo", registry.address()).parse().unwrap();
        let mut config = Config::default();
        config.limits.max_attempts = 1;
        let adapter = make(&settings().config(config).idle_timeout(Duration::from_secs(1)));
        let source = Arc::new(large.clone());
        let stored = adapter.upload(&reference, &descriptor, source, UploadOptions::default());
        assert_eq!(stored.unwrap_or_else(|error| panic!("{name}: {error}")), Stored::Sent);
        let (small, descriptor) = content(1);
        let error = adapter
            .upload(&reference, &descriptor, Arc::new(small), UploadOptions::default())
            .expect_err("the time for a small blob is short");
        assert!(error.to_string().contains("no complete response head within 1s"), "{name}: {error}");
    }
}

const WAYS: [&str; 3] = ["source", "reader", "writer"];

#[test]
fn an_upload_that_is_cut_at_any_point_resumes() {
    let (bytes, descriptor) = content(SIZE);
    for script in [
        vec![Fate::Cut(0)],
        vec![Fate::Cut(2)],
        vec![Fate::Cut(150_000), Fate::Cut(70_000), Fate::Cut(0), Fate::Cut(10_000)],
        vec![Fate::Whole, Fate::Cut(100_000), Fate::Cut(299_999)],
        vec![Fate::Cut(299_999), Fate::Cut(0), Fate::Whole, Fate::Whole, Fate::Cut(1)],
        vec![Fate::Unanswered, Fate::Unanswered],
    ] {
        for (name, make) in MAKERS {
            for way in WAYS {
                let (registry, reference, adapter) = start(make, &script);
                let label = format!("{name}, {way}, {script:?}");
                in_every_way(&*adapter, &reference, way, &bytes, &descriptor)
                    .unwrap_or_else(|error| panic!("{label}: {error}: {:?}", registry.take()));
                assert!(registry.blob(&descriptor.digest).is_some_and(|stored| stored == bytes), "{label}");
                // A whole blob needs no further request.
                let met = if way == "source" { 1 } else { script.len() };
                assert!(registry.left() <= script.len() - met, "{label}: {:?}", registry.take());
            }
        }
    }
}

#[test]
fn an_interrupted_upload_resumes_with_what_the_registry_lacks() {
    let (bytes, descriptor) = content(SIZE);
    for (name, make) in MAKERS {
        let (registry, reference, adapter) = start(make, &[Fate::Cut(SIZE - 10)]);
        in_every_way(&*adapter, &reference, "source", &bytes, &descriptor).unwrap();
        assert_eq!(registry.take(), ["HEAD", "POST", "PUT", "GET", "PUT"], "{name}");
    }
}

#[test]
fn an_early_refusal_is_acted_on() {
    let (bytes, descriptor) = content(20_000_000);
    let too_large = Reply::new(413, &[("connection", "close")], "too large");
    for (name, make) in MAKERS {
        let (registry, reference, adapter) = start(make, &[Fate::Early(too_large.clone())]);
        in_every_way(&*adapter, &reference, "source", &bytes, &descriptor)
            .unwrap_or_else(|error| panic!("{name}: {error}: {:?}", registry.take()));
        assert!(registry.blob(&descriptor.digest).is_some_and(|stored| stored == bytes), "{name}");
        let methods = registry.take();
        assert_eq!(methods[..4], ["HEAD", "POST", "PUT", "PATCH"], "{name}: {methods:?}");
    }
}

#[test]
fn an_early_challenge_is_answered_if_there_is_a_login() {
    let (bytes, descriptor) = content(20_000_000);
    let headers = [("www-authenticate", "Basic realm=\"x\""), ("connection", "close")];
    let challenge = Fate::Early(Reply::new(401, &headers, ""));
    for (name, make) in MAKERS {
        let (_registry, reference, adapter) = start(make, std::slice::from_ref(&challenge));
        let error = in_every_way(&*adapter, &reference, "source", &bytes, &descriptor).unwrap_err();
        assert_eq!(error.status().map(|status| status.as_u16()), Some(401), "{name}: {error}");

        let (registry, reference, _) = start(make, std::slice::from_ref(&challenge));
        let login = Credentials::login("somebody", "correct horse").unwrap();
        let adapter = make(&settings().credentials(Store::none().login(reference.registry().clone(), login)));
        in_every_way(&*adapter, &reference, "source", &bytes, &descriptor)
            .unwrap_or_else(|error| panic!("{name}: {error}: {:?}", registry.take()));
        assert!(registry.blob(&descriptor.digest).is_some_and(|stored| stored == bytes), "{name}");
    }
}

#[test]
fn an_early_refusal_that_is_final_is_reported_and_the_session_cancelled() {
    let (bytes, descriptor) = content(20_000_000);
    let body = r#"{"errors":[{"code":"DENIED","message":"the quota is used up"}]}"#;
    let json = [("content-type", "application/json"), ("connection", "close")];
    for (name, make) in MAKERS {
        let (registry, reference, adapter) = start(make, &[Fate::Early(Reply::new(403, &json, body))]);
        let error = in_every_way(&*adapter, &reference, "source", &bytes, &descriptor).unwrap_err();
        assert!(error.to_string().contains("the quota is used up"), "{name}: {error}");
        // The client lives on.
        adapter.blob_abandon(&reference, b"", &|| registry.open_sessions() == 0).unwrap();
        assert_eq!(registry.open_sessions(), 0, "{name}: {:?}", registry.take());
    }
}

#[test]
fn a_copy_of_wrong_content_is_not_completed_and_names_its_source() {
    // Longer than a pipe, so that both halves are at work together.
    let (bytes, Descriptor { digest, size, .. }) = content(SIZE);
    let image = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","digest":"{digest}","size":{size}}},"layers":[]}}"#
    );
    for wrong in [0, SIZE - 1] {
        let (image, mut blob) = (image.clone(), bytes.to_vec());
        blob[wrong] ^= 1;
        let source = serve(move |path| {
            if path.contains("/blobs/") {
                ("200 OK\r\n".to_owned(), blob.clone())
            } else {
                (format!("200 OK\r\nContent-Type: {}\r\n", MediaType::OCI_MANIFEST), image.clone().into())
            }
        });
        let from = format!("{source}/demo:1").parse().unwrap();
        for (name, make) in MAKERS {
            let (registry, to, adapter) = start(make, &[]);
            let error = adapter.copy(&from, &to, TransferOptions::default()).unwrap_err();
            let (_, url) = error.request().unwrap();
            assert_eq!(url, format!("http://{source}/v2/demo/blobs/{digest}"), "{name}");
            assert!(error.to_string().contains("digest mismatch"), "{name}: {error}");
            assert_eq!(registry.blob(&digest), None, "{name}");
        }
    }
}

#[test]
fn a_dropped_writer_cancels_its_session() {
    let (bytes, _) = content(SIZE);
    for (name, make) in MAKERS {
        // Before a chunk is full, and after several.
        for length in [10, SIZE] {
            let (registry, reference, adapter) = start(make, &[]);
            let is_cancelled = || registry.open_sessions() == 0;
            adapter.blob_abandon(&reference, &bytes[..length], &is_cancelled).unwrap();
            let methods = registry.take();
            assert!(is_cancelled(), "{name}, {length}: {methods:?}");
            assert_eq!((&*methods[0], &**methods.last().unwrap()), ("POST", "DELETE"), "{name}: {methods:?}");
        }
    }
}

/// A source that takes a while for each part.
struct Slow(Bytes);

impl BlobSource for Slow {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        struct Slowly(Box<dyn Read + Send>);
        impl Read for Slowly {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                thread::sleep(Duration::from_millis(50));
                let part = buffer.len().min(50_000);
                self.0.read(&mut buffer[..part])
            }
        }
        Ok(Box::new(Slowly(self.0.open(range)?)))
    }
}

#[test]
fn an_upload_goes_on_after_its_runtime_has_shut_down() {
    let (bytes, descriptor) = content(SIZE);
    let registry = UploadRegistry::start([]);
    let reference: Reference = format!("{}/demo", registry.address()).parse().unwrap();
    let client = oci_proto_tokio::Client::with_settings(settings()).unwrap();
    let options = UploadOptions::default();
    let mut upload = Box::pin(client.upload(&reference, &descriptor, Slow(bytes.clone()), options));
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let ended = first.block_on(async { tokio::time::timeout(Duration::from_millis(500), &mut upload).await });
    assert!(ended.is_err(), "it ended before its runtime");
    drop(first);
    assert_eq!(runtime().block_on(upload).unwrap(), Stored::Sent);
    assert!(registry.blob(&descriptor.digest).is_some_and(|stored| stored == bytes));
}

//! Both adapters upload blobs to docker-registry.

use std::io::{self, Read};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use oci_proto::layout::Root;
use oci_proto::{Algorithm, Config, Descriptor, Digest, FaultKind, MediaType, Reference, Repository, Stored};
use oci_proto_common::{BlobSource, FileSource, StreamOptions, TreeSource, UploadOptions, UploadProgress};
use oci_proto_layout::{Layout, LayoutWriter};
use oci_proto_tests::adapter::Adapter;
use oci_proto_tests::clients::{adapters, adapters_with, settings};
use oci_proto_tests::interop::{Disruption, DockerRegistry, Program, Proxy, Rules, Settings};
use serde_json::json;
use tokio::io::{AsyncRead, ReadBuf};

const MIB: usize = 1 << 20;

/// An empty docker-registry behind a proxy, and a repository in it through the proxy; `None` if docker-registry is
/// not installed.
fn start(disruptions: &[Disruption]) -> Option<(DockerRegistry, Proxy, Reference)> {
    let program = Program::find("docker-registry", "docker-registry")?;
    // Otherwise the URLs of uploads lead around the proxy.
    let settings = Settings::new().with(&["http", "relativeurls"], json!(true));
    let registry = DockerRegistry::start(&program, &settings);
    let proxy = Proxy::with(registry.address(), disruptions, 3, Rules::default());
    let reference = format!("{}/team/app", proxy.address()).parse().unwrap();
    Some((registry, proxy, reference))
}

/// Bytes that differ for each seed.
fn bytes(seed: u64, size: usize) -> Vec<u8> {
    let mut random = oorandom::Rand64::new(seed.into());
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(|| random.rand_u64().to_le_bytes()).take(size / 8 + 1).flatten().collect();
    bytes.truncate(size);
    bytes
}

fn describe(algorithm: Algorithm, content: &[u8]) -> Descriptor {
    Descriptor::new(MediaType::OCTET_STREAM, Digest::of(algorithm, content), content.len() as u64)
}

#[track_caller]
fn holds(adapter: &dyn Adapter, reference: &Reference, descriptor: &Descriptor, content: &[u8]) {
    let stored = adapter.blob(&reference.at(descriptor.digest.clone()), Some(descriptor.size));
    let stored = stored.unwrap_or_else(|error| panic!("{}: {error}", adapter.name()));
    assert!(stored == content, "{}: {} has other bytes", adapter.name(), descriptor.digest);
}

fn methods(proxy: &Proxy) -> Vec<String> {
    let methods = |request: String| request.split(' ').next().unwrap_or_default().to_owned();
    proxy.take().asked.into_iter().map(methods).collect()
}

#[test]
fn every_source_is_uploaded_once() {
    let Some((_registry, proxy, reference)) = start(&[]) else { return };
    let directory = tempfile::tempdir().unwrap();
    for (number, adapter) in adapters().into_iter().enumerate() {
        let number = u64::try_from(number).unwrap() * 10;
        for (index, algorithm) in [Algorithm::Sha256, Algorithm::Sha512].into_iter().enumerate() {
            for (kind, size) in
                [("bytes", 1), ("file", 3 * MIB + 7), ("layout", 100_000), ("slice", 64 << 10)]
            {
                let content = bytes(number + index as u64, size);
                let descriptor = describe(algorithm, &content);
                let source: Arc<dyn BlobSource> = match kind {
                    "bytes" => Arc::new(bytes::Bytes::from(content.clone())),
                    "file" => {
                        let path = directory.path().join("layer");
                        std::fs::write(&path, &content).unwrap();
                        let file = FileSource::open(&path).unwrap();
                        assert_eq!(file.describe(MediaType::OCTET_STREAM, algorithm).unwrap(), descriptor);
                        Arc::new(file)
                    }
                    "layout" => {
                        let path = directory.path().join(format!("layout{number}{index}"));
                        let writer = LayoutWriter::open(&path).unwrap();
                        writer.put(&descriptor, &content).unwrap();
                        drop(writer);
                        let layout =
                            Layout::open_for(&path, &Root::Digest(descriptor.digest.clone())).unwrap();
                        Arc::new(TreeSource::blob(&layout, &descriptor).unwrap())
                    }
                    _ => Arc::new(Arc::<[u8]>::from(&*content)),
                };
                let label = format!("{}, {kind}, {algorithm:?}", adapter.name());
                let upload =
                    || adapter.upload(&reference, &descriptor, source.clone(), UploadOptions::default());
                assert_eq!(upload().unwrap(), Stored::Sent, "{label}");
                assert_eq!(methods(&proxy), ["HEAD", "POST", "PUT"], "{label}");
                assert_eq!(upload().unwrap(), Stored::Existing, "{label}");
                assert_eq!(methods(&proxy), ["HEAD"], "{label}");
                holds(&*adapter, &reference, &descriptor, &content);
                proxy.take();
            }
        }
    }
}

#[test]
fn a_blob_of_another_repository_is_mounted() {
    let Some((_registry, proxy, reference)) = start(&[]) else { return };
    for (seed, adapter) in (0..).zip(adapters()) {
        let content = bytes(seed, 1000);
        let descriptor = describe(Algorithm::Sha256, &content);
        let source: Arc<dyn BlobSource> = Arc::new(Arc::<[u8]>::from(&*content));
        let other: Reference = format!("{}/team/other", proxy.address()).parse().unwrap();
        adapter.upload(&other, &descriptor, source.clone(), UploadOptions::default()).unwrap();
        proxy.take();
        for (from, how) in [("team/other", Stored::Mounted), ("team/other", Stored::Existing)] {
            let from: Repository = from.parse().unwrap();
            let options = UploadOptions::default().mount_from(from);
            let stored = adapter.upload(&reference, &descriptor, source.clone(), options).unwrap();
            assert_eq!(stored, how, "{}", adapter.name());
        }
        assert_eq!(methods(&proxy), ["HEAD", "POST", "HEAD"], "{}", adapter.name());
        holds(&*adapter, &reference, &descriptor, &content);
    }
}

/// Streams of these sizes, with the methods that send them.
const STREAMS: [(usize, &[&str]); 5] = [
    (0, &["POST", "PUT"]),
    (1, &["POST", "PUT"]),
    (8 * MIB, &["POST", "PUT"]),
    (8 * MIB + 1, &["POST", "PATCH", "PUT"]),
    (20 * MIB, &["POST", "PATCH", "PATCH", "PUT"]),
];

#[test]
fn a_stream_of_unknown_length_is_uploaded_in_chunks() {
    let Some((_registry, proxy, reference)) = start(&[]) else { return };
    for (seed, adapter) in (0..).zip(adapters()) {
        for (size, expected) in STREAMS {
            let content = bytes(seed, size);
            let options = StreamOptions::default();
            let found = adapter.upload_stream(&reference, &mut &content[..], options).unwrap();
            assert_eq!(methods(&proxy), expected, "{}: {size}", adapter.name());
            assert_eq!(found, describe(Algorithm::Sha256, &content), "{}", adapter.name());
            holds(&*adapter, &reference, &found, &content);
            proxy.take();
        }
    }
}

#[test]
fn a_blob_is_written_in_parts_of_any_size() {
    let Some((_registry, proxy, reference)) = start(&[]) else { return };
    for (seed, adapter) in (10..).zip(adapters()) {
        for ((size, expected), part) in STREAMS.into_iter().zip([1, 1, 999_983, 9 * MIB, 64 << 10]) {
            let content = bytes(seed, size);
            let mut parts = content.chunks(part).map(<[u8]>::to_vec);
            let options = StreamOptions::default().algorithm(Algorithm::Sha512);
            let found = adapter.blob_write(&reference, &mut parts, options).unwrap();
            assert_eq!(methods(&proxy), expected, "{}: {size}", adapter.name());
            assert_eq!(found, describe(Algorithm::Sha512, &content), "{}", adapter.name());
            holds(&*adapter, &reference, &found, &content);
            proxy.take();
        }
    }
}

#[test]
fn progress_is_reported_up_to_the_end() {
    let Some((_registry, _proxy, reference)) = start(&[]) else { return };
    for (seed, adapter) in (20..).zip(adapters()) {
        let content = bytes(seed, 3 * MIB);
        let size = content.len() as u64;
        let (sent, acknowledged) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let (tell_sent, tell_acknowledged) = (sent.clone(), acknowledged.clone());
        let hook = move |progress: UploadProgress<'_>| match progress {
            UploadProgress::Sent { position, size: 3_145_728, .. } => {
                tell_sent.lock().unwrap().push(position);
            }
            UploadProgress::Acknowledged(_, bytes) => tell_acknowledged.lock().unwrap().push(bytes),
            UploadProgress::Stored(descriptor, Stored::Sent) => assert_eq!(descriptor.size, 3 << 20),
            other => panic!("{other:?}"),
        };
        let descriptor = describe(Algorithm::Sha256, &content);
        let source = Arc::new(bytes::Bytes::from(content.clone()));
        let options = UploadOptions::default().on_progress(hook.clone());
        adapter.upload(&reference, &descriptor, source, options).unwrap();
        let sent = sent.lock().unwrap();
        assert!(sent.is_sorted() && sent.len() > 10 && sent.last() == Some(&size), "{sent:?}");
        assert_eq!(*acknowledged.lock().unwrap(), [size], "{}", adapter.name());
    }
}

/// Content with a wrong byte, a truncated one, and one that cannot be read.
struct Wrong {
    content: Vec<u8>,
    fails_at: Option<usize>,
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is gone"))
    }
}

impl BlobSource for Wrong {
    fn open(&self, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        let length = self.fails_at.unwrap_or(self.content.len());
        let readable = bytes::Bytes::copy_from_slice(&self.content[..length]).open(range)?;
        Ok(if self.fails_at.is_some() { Box::new(readable.chain(Failing)) } else { readable })
    }
}

#[test]
fn a_wrong_source_fails_by_name_and_nothing_is_stored() {
    let Some((_registry, _proxy, reference)) = start(&[]) else { return };
    let size = 2 * MIB;
    for (seed, adapter) in (30..).zip(adapters()) {
        let content = bytes(seed, size);
        let descriptor = describe(Algorithm::Sha256, &content);
        let mut altered = content.clone();
        altered[size - 1] ^= 1;
        for (content, fails_at, says) in [
            (altered, None, "digest mismatch"),
            (content[..size - 1].to_vec(), None, "ended after"),
            (content[..0].to_vec(), None, "ended after 0 of"),
            ([&content[..], b"x"].concat(), None, "is wrong: longer than"),
            (content.clone(), Some(size / 2), "the disk is gone"),
            (content.clone(), Some(0), "the disk is gone"),
        ] {
            let source = Arc::new(Wrong { content, fails_at });
            let outcome = adapter.upload(&reference, &descriptor, source, UploadOptions::default());
            let error = outcome.unwrap_err();
            let label = format!("{}, {says}: {error}", adapter.name());
            assert_eq!(error.fault().map(oci_proto::Fault::kind), Some(FaultKind::Storage), "{label}");
            assert!(error.to_string().contains(says), "{label}");
            assert!(error.to_string().contains(&descriptor.digest.to_string()), "{label}");
            let stored = adapter.blob(&reference.at(descriptor.digest.clone()), None);
            assert!(stored.is_err_and(|error| error.is_not_found()), "{label}");
        }
    }
}

#[test]
fn missing_content_of_a_layout_is_named_by_its_file() {
    let directory = tempfile::tempdir().unwrap();
    drop(LayoutWriter::open(directory.path()).unwrap());
    let descriptor = describe(Algorithm::Sha256, b"content");
    let layout = Layout::open_for(directory.path(), &Root::Digest(descriptor.digest.clone())).unwrap();
    for missing in [TreeSource::blob(&layout, &descriptor).map(drop), layout.document(&descriptor).map(drop)]
    {
        let error = missing.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains(&*descriptor.digest.encoded()), "{error}");
    }
}

impl AsyncRead for Failing {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::other("the pipe is broken")))
    }
}

#[test]
fn a_failing_reader_fails_a_stream() {
    let Some((_registry, _proxy, reference)) = start(&[]) else { return };
    for adapter in adapters() {
        let error = adapter.upload_stream(&reference, &mut Failing, StreamOptions::default()).unwrap_err();
        let label = format!("{}: {error}", adapter.name());
        assert!(error.fault().is_some_and(|fault| fault.kind() == FaultKind::Storage), "{label}");
        assert!(error.to_string().contains("cannot read the stream to upload: the "), "{label}");
    }
}

/// A client with short delays.
fn patient() -> [Box<dyn Adapter>; 2] {
    let mut config = Config::default();
    config.limits.backoff_first = std::time::Duration::from_millis(5);
    adapters_with(&settings().config(config))
}

/// docker-registry keeps half of the body, and then does not accept the session's URL.
#[test]
fn an_upload_whose_session_breaks_begins_again() {
    let Some((_registry, proxy, reference)) = start(&[Disruption::CutsBodies]) else { return };
    for (seed, adapter) in (40..).zip(patient()) {
        let content = bytes(seed, 20 * MIB);
        let descriptor = describe(Algorithm::Sha256, &content);
        let source = Arc::new(bytes::Bytes::from(content.clone()));
        let stored = adapter.upload(&reference, &descriptor, source, UploadOptions::default()).unwrap();
        let seen = proxy.take();
        assert_eq!((stored, seen.of("cut body")), (Stored::Sent, 1), "{}: {seen:?}", adapter.name());
        holds(&*adapter, &reference, &descriptor, &content);
    }
}

#[test]
fn a_first_failure_of_each_request_is_retried() {
    let Some((registry, ..)) = start(&[]) else { return };
    for seed in 0..6 {
        for (number, adapter) in (seed * 10..).zip(patient()) {
            let proxy = Proxy::with(registry.address(), &[Disruption::FailsFirst], seed, Rules::default());
            let reference: Reference = format!("{}/team/app{seed}", proxy.address()).parse().unwrap();
            let content = bytes(70 + number, 300_000);
            let descriptor = describe(Algorithm::Sha256, &content);
            let source = Arc::new(bytes::Bytes::from(content.clone()));
            let stored = adapter.upload(&reference, &descriptor, source, UploadOptions::default());
            let seen = proxy.take();
            let stored =
                stored.unwrap_or_else(|error| panic!("{}, {seed}: {error}: {seen:?}", adapter.name()));
            assert_eq!(stored, Stored::Sent, "{}, {seed}: {seen:?}", adapter.name());
            // Those of the blob, the beginning of the upload and its session.
            assert!(seen.failures() >= 3, "{}, {seed}: {seen:?}", adapter.name());
            holds(&*adapter, &reference, &descriptor, &content);
        }
    }
}

#[test]
fn a_throttled_upload_waits() {
    let Some((_registry, proxy, reference)) = start(&[Disruption::Throttles]) else { return };
    for (seed, adapter) in (50..).zip(patient()) {
        for number in 0..8 {
            let content = bytes(seed + 100 * number, 100_000);
            let descriptor = describe(Algorithm::Sha256, &content);
            let source = Arc::new(bytes::Bytes::from(content.clone()));
            adapter.upload(&reference, &descriptor, source, UploadOptions::default()).unwrap();
            holds(&*adapter, &reference, &descriptor, &content);
        }
        let seen = proxy.take();
        assert!(seen.of("throttled") > 0, "{}: {seen:?}", adapter.name());
    }
}

#[test]
fn a_dropped_writer_cancels_its_upload() {
    let Some((_registry, proxy, reference)) = start(&[]) else { return };
    for (seed, adapter) in (60..).zip(adapters()) {
        let requests = Mutex::new(Vec::new());
        let is_cancelled = || {
            let mut requests = requests.lock().unwrap();
            requests.append(&mut methods(&proxy));
            requests.iter().any(|method| method == "DELETE")
        };
        adapter.blob_abandon(&reference, &bytes(seed, 9 * MIB), &is_cancelled).unwrap();
        assert!(is_cancelled(), "{}: {:?}", adapter.name(), requests.lock().unwrap());
    }
}

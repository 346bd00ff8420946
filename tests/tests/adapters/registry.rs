//! Both adapters push to the registry of this project, pull from it, and copy between two of them.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use oci_proto::server::{
    Effect, Failure, Flavour, Memory, MemoryStorage, Policy, Rule, Server, Storage, Unavailable, UploadId,
    User, Who,
};
use oci_proto::{
    Algorithm, Config, Credentials, Descriptor, Digest, MediaType, PullOptions, Reference, Repository,
};
use oci_proto_common::{StreamOptions, TransferOptions, TreeSource, UploadOptions};
use oci_proto_tests::adapter::Adapter;
use oci_proto_tests::clients::{MAKERS, adapters, settings};
use oci_proto_tests::interop::Sample;
use oci_proto_tokio::credentials::Store;
use oci_proto_tokio::layout::{LayoutDestination, LayoutWriter};
use oci_proto_tokio::server::{AccessRecord, Login, Options, SharedRegistry, SharedStorage};
use tokio::runtime;
use tokio::sync::oneshot;

/// A registry on a thread.
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    fn start<S: Storage + Clone + Send + 'static>(shared: &SharedRegistry<S>, options: Options) -> Self {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let registry = runtime.block_on(shared.listen_with(options)).unwrap();
        let address = registry.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            // An error is the end of the test.
            let _ = runtime.block_on(stopped);
            drop(registry);
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    fn with(policy: Policy, options: Options) -> Self {
        Self::start(&SharedRegistry::in_memory(policy).unwrap(), options)
    }

    pub(crate) fn open() -> Self {
        Self::with(Policy::open(), Options::default())
    }

    pub(crate) fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic message is on stderr already.
            let _ = thread.join();
        }
    }
}

/// A tree with a blob that does not fit into any buffer on the way.
fn tree() -> (Arc<Memory>, Descriptor) {
    let mut sample = Sample::nested();
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let image = sample.memory.add_image(Flavour::OCI, None, &[&large]);
    let root = sample.memory.add_index(Flavour::OCI, [&sample.root, &image]);
    (Arc::new(sample.memory), root)
}

/// Verifies everything under a reference, with each adapter.
#[track_caller]
fn is_whole(label: &str, reference: &Reference) {
    for adapter in adapters() {
        let mut findings = Vec::new();
        adapter.check(reference, None, &mut |finding| findings.push(finding)).unwrap();
        assert!(findings.is_empty(), "{label}: {reference}: {findings:?}");
    }
}

#[test]
fn a_tree_is_pushed_pulled_and_copied() {
    let (memory, root) = tree();
    let (source, destination) = (Host::open(), Host::open());
    for client in adapters() {
        let label = client.name();
        let pushed = source.reference(&format!("pushed/{label}:1.0"));
        client.push(&root, &pushed, memory.clone(), TransferOptions::default()).unwrap();
        is_whole(label, &pushed);

        let folder = tempfile::tempdir().unwrap();
        let layout = LayoutDestination::new(LayoutWriter::open(folder.path()).unwrap());
        assert_eq!(client.pull(&pushed, layout, PullOptions::default()).unwrap().digest, root.digest);

        let elsewhere = destination.reference(&format!("copied/{label}:1.0"));
        let copied = client.copy(&pushed, &elsewhere, TransferOptions::default()).unwrap();
        assert_eq!(copied.digest, root.digest, "{label}");
        is_whole(label, &elsewhere);

        let beside = source.reference(&format!("beside/{label}:2.0"));
        client.copy(&pushed, &beside, TransferOptions::default()).unwrap();
        is_whole(label, &beside);
    }
}

#[test]
fn referrers_on_several_pages_are_all_listed() {
    let host = Host::open();
    let mut memory = Memory::new();
    let image = memory.add_image(Flavour::OCI, None, &[b"a layer"]);
    let subject = serde_json::json!({
        "mediaType": image.media_type.as_str(), "digest": image.digest.to_string(), "size": image.size,
    });
    // No two of them fit on a page.
    let referrers: Vec<_> = (0..3)
        .map(|n| {
            let document = serde_json::json!({
                "schemaVersion": 2, "mediaType": MediaType::OCI_INDEX.as_str(), "manifests": [],
                "annotations": { "large": n.to_string().repeat(600_000) }, "subject": subject,
            });
            memory.add_document(MediaType::OCI_INDEX, document.to_string())
        })
        .collect();
    let memory = Arc::new(memory);
    let tagged = host.reference("app:1");
    for client in adapters() {
        client.push(&image, &tagged, memory.clone(), TransferOptions::default()).unwrap();
        for (n, referrer) in referrers.iter().enumerate() {
            let name = host.reference(&format!("app:referrer-{n}"));
            client.push(referrer, &name, memory.clone(), TransferOptions::default()).unwrap();
        }
        let mut found = Vec::new();
        let subject = host.reference(&format!("app@{}", image.digest));
        client.referrers(&subject, None, &mut |referrer| found.push(referrer.descriptor.digest)).unwrap();
        let mut expected: Vec<_> = referrers.iter().map(|referrer| referrer.digest.clone()).collect();
        expected.sort();
        assert_eq!(found, expected, "{}", client.name());
    }
}

#[test]
fn the_blobs_of_another_repository_are_mounted() {
    let (memory, root) = tree();
    let records: Arc<Mutex<Vec<AccessRecord>>> = Arc::default();
    let shared = records.clone();
    let options = Options::default().on_access(move |record| shared.lock().unwrap().push(record.clone()));
    let host = Host::with(Policy::open(), options);
    for client in adapters() {
        let label = client.name();
        let pushed = host.reference(&format!("{label}/from:1"));
        client.push(&root, &pushed, memory.clone(), TransferOptions::default()).unwrap();
        records.lock().unwrap().clear();
        client.copy(&pushed, &host.reference(&format!("{label}/to:1")), TransferOptions::default()).unwrap();
        let records = records.lock().unwrap();
        let mounts = records.iter().filter(|record| record.target.contains("mount=")).count();
        assert!(mounts > 5, "{label}: {mounts}");
        // The clients mount no blob with another algorithm than sha256.
        let is_sent = |record: &&AccessRecord| record.received > 0 && record.target.contains("/blobs/");
        let sent: Vec<_> = records.iter().filter(is_sent).map(|record| &record.target).collect();
        assert!(sent.iter().all(|target| target.contains("sha512")), "{label}: {sent:?}");
    }
}

/// A storage that is full while a switch is set.
#[derive(Clone, Debug)]
struct Limited {
    memory: SharedStorage<MemoryStorage>,
    is_full: Arc<AtomicBool>,
    /// It is the effects that fail, and not the bytes.
    is_late: bool,
}

impl Limited {
    fn check(&self, is_late: bool) -> Result<(), Failure> {
        let fails = self.is_full.load(Ordering::Relaxed) && self.is_late == is_late;
        if fails { Err(Failure::Full) } else { Ok(()) }
    }
}

impl Storage for Limited {
    fn write(
        &mut self,
        repository: &Repository,
        upload: &UploadId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Failure> {
        self.check(false)?;
        self.memory.write(repository, upload, offset, bytes)
    }

    fn sync(&mut self, upload: &UploadId) -> Result<(), Failure> {
        self.memory.sync(upload)
    }

    fn read_upload(
        &self,
        upload: &UploadId,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Failure> {
        self.memory.read_upload(upload, range, take)
    }

    fn apply(&mut self, changes: &[(&Repository, &[Effect])]) -> Result<(), Failure> {
        self.check(true)?;
        self.memory.apply(changes)
    }

    fn read(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Range<u64>,
    ) -> Result<Bytes, Unavailable> {
        self.memory.read(repository, digest, range)
    }
}

/// A client that retries quickly, and seldom.
fn quick() -> oci_proto_common::Settings {
    let mut config = Config::default();
    config.limits.backoff_first = Duration::from_millis(5);
    config.limits.max_attempts = 2;
    settings().config(config)
}

#[test]
fn a_registry_without_space_says_so_and_names_nothing() {
    let (memory, root) = tree();
    for (label, make) in MAKERS {
        for is_late in [false, true] {
            let is_full = Arc::new(AtomicBool::new(true));
            let storage = Limited {
                memory: SharedStorage::new(MemoryStorage::new()),
                is_full: is_full.clone(),
                is_late,
            };
            let registry = SharedRegistry::new(Server::with_policy(Policy::open(), 1), storage).unwrap();
            let host = Host::start(&registry, Options::default());
            let to = host.reference("team/app:1.0");
            let client = make(&quick());
            let memory: Arc<dyn TreeSource> = memory.clone();
            let error = client.push(&root, &to, memory.clone(), TransferOptions::default()).unwrap_err();
            assert_eq!(error.status().map(|status| status.as_u16()), Some(507), "{label}: {error}");
            assert!(error.to_string().contains("no space left"), "{label}: {error}");
            assert!(!client.exists(&to, false).unwrap(), "{label}");

            is_full.store(false, Ordering::Relaxed);
            client.push(&root, &to, memory, TransferOptions::default()).unwrap();
            is_whole(label, &to);
        }
    }
}

/// Uploads a large blob in one of two ways.
fn upload(client: &dyn Adapter, to: &Reference, as_stream: bool) -> Result<(), oci_proto::Error> {
    let content: Vec<u8> = (0..5_000_000_u32).flat_map(u32::to_le_bytes).collect();
    if as_stream {
        return client.upload_stream(to, &mut &content[..], StreamOptions::default()).map(drop);
    }
    let digest = Digest::of(Algorithm::Sha256, &content);
    let descriptor = Descriptor::new(MediaType::OCTET_STREAM, digest, content.len() as u64);
    client.upload(to, &descriptor, Arc::new(Bytes::from(content)), UploadOptions::default()).map(drop)
}

#[test]
fn the_refusal_of_a_large_blob_is_seen() {
    let mut policy = Policy::open();
    policy.blob_bytes = 1 << 20;
    let host = Host::with(policy, Options::default());
    for (label, make) in MAKERS {
        for as_stream in [false, true] {
            let error = upload(&*make(&quick()), &host.reference("demo"), as_stream).unwrap_err();
            assert_eq!(error.status().map(|status| status.as_u16()), Some(413), "{label}: {error}");
        }
    }
}

#[test]
fn a_login_is_required_and_checked() {
    let mut rule = Rule::open();
    rule.writes = Who::Users(["ann".parse().unwrap()].into());
    let mut policy = Policy::open();
    policy.rules = vec![rule];
    let ann: User = "ann".parse().unwrap();
    let options = Options::default().authenticate(move |header| match header.as_bytes() {
        b"Basic YW5uOmNvcnJlY3QgaG9yc2U=" => Login::User(ann.clone()),
        _ => Login::Refused,
    });
    let host = Host::with(policy, options);
    for (label, make) in MAKERS {
        let to = host.reference(label);
        let with = |password: Option<&str>| {
            let store = password.map_or_else(Store::none, |password| {
                let login = Credentials::login("ann", password).unwrap();
                Store::none().login(to.registry().clone(), login)
            });
            make(&quick().credentials(store))
        };
        for password in [None, Some("wrong")] {
            let error = upload(&*with(password), &to, false).unwrap_err();
            assert_eq!(error.status().map(|status| status.as_u16()), Some(401), "{label}: {error}");
        }
        upload(&*with(Some("correct horse")), &to, label == "ureq").unwrap();
    }
}

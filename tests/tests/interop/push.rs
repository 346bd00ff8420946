//! Both adapters push to docker-registry, and copy between two of them.

use std::sync::Arc;
use std::thread;

use oci_proto::server::Memory;
use oci_proto::{Descriptor, Error, Reference, Stored};
use oci_proto_common::{TransferOptions, UploadProgress};
use oci_proto_tests::adapter::adapters;
use oci_proto_tests::interop::{DockerRegistry, Program, Proxy, Sample, Settings};

use crate::support::{downloads, walks};

fn registry() -> Option<DockerRegistry> {
    let program = Program::find("docker-registry", "docker-registry")?;
    Some(DockerRegistry::start(&program, &Settings::new()))
}

/// The two clients.
#[derive(Clone, Copy, Debug)]
enum Client {
    Tokio,
    Ureq,
}

const CLIENTS: [Client; 2] = [Client::Tokio, Client::Ureq];

impl Client {
    fn push(
        self,
        root: &Descriptor,
        reference: &Reference,
        tree: &Memory,
        options: TransferOptions,
    ) -> Result<(), Error> {
        match self {
            Self::Tokio => block_on(async {
                let client = oci_proto_tokio::Client::new().expect("a client");
                client.push(root, reference, tree.clone(), options).await
            }),
            Self::Ureq => {
                oci_proto_ureq::Client::new().expect("a client").push(root, reference, tree, options)
            }
        }
    }

    fn copy(self, from: &Reference, to: &Reference) -> Result<Descriptor, Error> {
        let options = TransferOptions::default();
        match self {
            Self::Tokio => block_on(async {
                oci_proto_tokio::Client::new().expect("a client").copy(from, to, options).await
            }),
            Self::Ureq => oci_proto_ureq::Client::new().expect("a client").copy(from, to, options),
        }
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

fn reference(address: impl std::fmt::Display, name: &str) -> Reference {
    format!("{address}/{name}").parse().expect("a reference")
}

/// A tree with a blob that does not fit into any buffer on the way.
fn tree() -> (Memory, Descriptor) {
    let mut sample = Sample::nested();
    let large: Vec<u8> = (0..6_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let image = sample.memory.add_image(oci_proto::server::Flavour::OCI, None, &[&large]);
    let root = sample.memory.add_index(oci_proto::server::Flavour::OCI, [&sample.root, &image]);
    (sample.memory, root)
}

#[test]
fn a_pushed_tree_is_read_back_and_sent_once() {
    let Some(registry) = registry() else { return };
    let sample = Sample::nested();
    for client in CLIENTS {
        let proxy = Proxy::before(registry.address());
        let name = format!("pushed/{client:?}:latest").to_lowercase();
        let to = reference(registry.address(), &name);
        let how: Arc<std::sync::Mutex<Vec<Stored>>> = Arc::default();
        let noted = how.clone();
        let options = TransferOptions::default().on_progress(move |progress| {
            if let UploadProgress::Stored(_, stored) = progress {
                noted.lock().unwrap().push(stored);
            }
        });
        client.push(&sample.root, &to, &sample.memory, options).unwrap_or_else(|e| panic!("{client:?}: {e}"));
        assert!(how.lock().unwrap().iter().all(|stored| *stored == Stored::Sent), "{client:?}: {how:?}");
        let again = reference(proxy.address(), &name);
        client.push(&sample.root, &again, &sample.memory, TransferOptions::default()).unwrap();
        let again = proxy.take().asked;
        assert!(again.iter().all(|request| request.starts_with("HEAD")), "{client:?}: {again:?}");
        for adapter in adapters() {
            walks(&*adapter, &to, &sample);
            downloads(&*adapter, &to, &sample);
        }
    }
}

#[test]
fn a_tree_is_copied_between_registries_and_within_one() {
    let (Some(first), Some(second)) = (registry(), registry()) else { return };
    let (memory, root) = tree();
    let from = reference(first.address(), "team/source:1");
    Client::Tokio.push(&root, &from, &memory, TransferOptions::default()).unwrap();
    thread::scope(|scope| {
        for client in CLIENTS {
            let (from, first, second, root) = (&from, &first, &second, &root);
            scope.spawn(move || {
                let name = format!("copied/{client:?}:1").to_lowercase();
                for to in [reference(second.address(), &name), reference(first.address(), &name)] {
                    let copied = client.copy(from, &to).unwrap_or_else(|e| panic!("{client:?}: {to}: {e}"));
                    assert_eq!(copied.digest, root.digest);
                    for adapter in adapters() {
                        let mut findings = Vec::new();
                        adapter.check(&to, None, &mut |finding| findings.push(finding)).unwrap();
                        assert!(findings.is_empty(), "{client:?}: {to}: {findings:?}");
                    }
                }
            });
        }
    });
}

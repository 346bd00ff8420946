//! A registry on disk, as its clients and other programs see it.

mod faults;
mod garbage;
mod killed;
mod loading;
mod round_trips;
mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, LOCATION};
use http::{Request, Response};
use oci_proto::server::{EmbeddedRegistry, Policy, Server, Storage};
use oci_proto::{Algorithm, Digest, Time};
use serde_json::{Value, json};

use crate::check::check;
use crate::directory::Directory;
use crate::directory::trace::Trace;
use crate::error::LayoutError;
use crate::registry::RegistryDirectory;
use crate::registry::space::RegistryOptions;

/// The media type of an image.
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an index.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A client and its registry.
struct Client<S = RegistryDirectory> {
    registry: EmbeddedRegistry<S>,
    /// The locations of uploads, by a name of the test.
    uploads: BTreeMap<&'static str, String>,
}

fn server() -> Server {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let mut policy = Policy::open();
    policy.reserved_components = RegistryDirectory::reserved_components().collect();
    Server::with_policy(policy, SEED.fetch_add(1, Ordering::Relaxed))
}

/// Opens a registry that is to succeed, and returns its warnings.
fn open_with_warnings(path: &Path) -> (Client, Vec<LayoutError>) {
    let (storage, contents) = RegistryDirectory::open(path, RegistryOptions::default()).unwrap();
    let mut server = server();
    contents.load_into(&mut server, Time::ZERO);
    let registry = EmbeddedRegistry::new(server, storage);
    (Client { registry, uploads: BTreeMap::new() }, contents.warnings().to_vec())
}

#[track_caller]
fn open(path: &Path) -> Client {
    let (client, warnings) = open_with_warnings(path);
    assert!(warnings.is_empty(), "{warnings:?}");
    client
}

/// Opens a registry whose calls are recorded, and fail if the trace says so.
fn open_traced(path: &Path, trace: &Trace) -> Result<Client, LayoutError> {
    let root = Directory::open(path)?.traced(trace.clone());
    let (storage, contents) = RegistryDirectory::of(root, RegistryOptions::default())?;
    let mut server = server();
    contents.load_into(&mut server, Time::ZERO);
    Ok(Client { registry: EmbeddedRegistry::new(server, storage), uploads: BTreeMap::new() })
}

impl Client {
    /// Ends the process, and starts the next one.
    #[track_caller]
    fn restart(self) -> Self {
        let (_, storage) = self.registry.into_parts();
        let path = storage.shared.root.path().to_owned();
        drop(storage);
        Self { uploads: self.uploads, ..open(&path) }
    }
}

impl<S: Storage> Client<S> {
    fn send(&mut self, method: &str, target: &str, body: impl Into<Bytes>) -> Response<Bytes> {
        let body: Bytes = body.into();
        let media_type = match serde_json::from_slice::<Value>(&body) {
            Ok(document) => document["mediaType"].as_str().map(str::to_owned),
            Err(_) => None,
        };
        let request = Request::builder().method(method).uri(target).header(HOST, "registry");
        let request =
            request.header(CONTENT_TYPE, media_type.as_deref().unwrap_or("application/octet-stream"));
        self.registry.respond(Time::ZERO, request.body(body).unwrap())
    }

    fn status(&mut self, method: &str, target: &str, body: impl Into<Bytes>) -> u16 {
        self.send(method, target, body).status().as_u16()
    }

    #[track_caller]
    fn get(&mut self, target: &str) -> Bytes {
        let response = self.send("GET", target, "");
        assert_eq!(response.status(), 200, "{target}: {response:?}");
        response.into_body()
    }

    /// Pushes a blob in one request.
    #[track_caller]
    fn blob(&mut self, repository: &str, content: &'static str) -> Digest {
        let digest = sha256(content);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let response = self.send("POST", &target, content);
        assert_eq!(response.status(), 201, "{response:?}");
        digest
    }

    /// Pushes a document under a tag.
    #[track_caller]
    fn put(&mut self, repository: &str, tag: &str, document: &str) -> Digest {
        let response = self.send("PUT", &format!("/v2/{repository}/manifests/{tag}"), document.to_owned());
        assert_eq!(response.status(), 201, "{response:?}");
        sha256(document)
    }

    /// Begins an upload, or continues it with a chunk.
    #[track_caller]
    fn upload(&mut self, name: &'static str, repository: &str, chunk: &'static str) -> u16 {
        let response = if chunk.is_empty() {
            self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), "")
        } else {
            self.send("PATCH", &self.uploads[name].clone(), chunk)
        };
        if let Some(location) = response.headers().get(LOCATION) {
            self.uploads.insert(name, location.to_str().unwrap().to_owned());
        }
        response.status().as_u16()
    }

    #[track_caller]
    fn tags(&mut self, repository: &str) -> Vec<String> {
        let response = self.send("GET", &format!("/v2/{repository}/tags/list"), "");
        let list: Value = serde_json::from_slice(response.body()).unwrap();
        let tags = list["tags"].as_array().into_iter().flatten();
        tags.map(|tag| tag.as_str().unwrap().to_owned()).collect()
    }
}

fn sha256(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

/// An image of these layers, with an empty config.
fn image(layers: &[&str]) -> String {
    let descriptor = |content: &str| {
        json!({
            "mediaType": "application/vnd.example", "digest": sha256(content).to_string(), "size": content.len()
        })
    };
    let layers: Vec<Value> = layers.iter().map(|layer| descriptor(layer)).collect();
    json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": descriptor("{}"), "layers": layers })
        .to_string()
}

/// An index of these documents.
fn index(documents: &[&str]) -> String {
    let entries: Vec<Value> = documents
        .iter()
        .map(|document| {
            let parsed: Value = serde_json::from_str(document).unwrap();
            let digest = sha256(document).to_string();
            json!({ "mediaType": parsed["mediaType"], "digest": digest, "size": document.len() })
        })
        .collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string()
}

/// Everything under a directory: files with their content, links with their target, and directories.
fn tree(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(directory).unwrap().to_owned();
            if kind.is_dir() {
                found.insert(name, Vec::new());
                directories.push(path);
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                found.insert(name, target.into_os_string().into_encoded_bytes());
            } else {
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Checks all layouts under a directory, and returns their names.
#[track_caller]
fn check_all(root: &Path) -> BTreeSet<String> {
    let markers = tree(root).into_keys().filter(|path| path.ends_with("oci-layout"));
    let markers = markers.filter(|path| !path.starts_with(".oci-proto-partial"));
    let layouts: Vec<_> = markers.map(|marker| marker.parent().unwrap().to_owned()).collect();
    for layout in &layouts {
        let findings: Vec<_> = check(root.join(layout), None).unwrap().collect();
        assert!(findings.is_empty(), "{}: {findings:?}", layout.display());
    }
    layouts.iter().map(|layout| layout.to_str().unwrap().to_owned()).collect()
}

/// The entries of a repository's `index.json`: the digest and the name of each.
fn listed(root: &Path, repository: &str) -> Vec<(String, Option<String>)> {
    let index = fs::read(root.join(repository).join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let entries = index["manifests"].as_array().unwrap().iter();
    let name =
        |entry: &Value| entry["annotations"]["org.opencontainers.image.ref.name"].as_str().map(str::to_owned);
    entries.map(|entry| (entry["digest"].as_str().unwrap().to_owned(), name(entry))).collect()
}

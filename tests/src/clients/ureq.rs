//! The blocking adapter.

use std::io::{self, Read as _, Write as _};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use oci_proto::{
    Descriptor, Error, Finding, Manifest, MediaType, Node, Platform, PullOptions, Reference, Referrer,
    Registry, Repository, Stored, Tag, WalkOptions,
};
use oci_proto_common::{
    BlobSource, Metrics, Settings, StreamOptions, TransferOptions, TreeSource, UploadOptions,
};
use oci_proto_tokio::layout::{LayoutDestination, PullError};

use crate::adapter::{Adapter, Blob, Reader, Writer};

/// Builds a client.
pub(super) fn make(settings: &Settings) -> Box<dyn Adapter> {
    let client = oci_proto_ureq::Client::with_settings(settings.clone()).expect("a client is built");
    Box::new(Ureq { client })
}

#[derive(Debug)]
struct Ureq {
    client: oci_proto_ureq::Client,
}

impl Adapter for Ureq {
    fn name(&self) -> &'static str {
        "ureq"
    }

    fn resolve(&self, reference: &Reference, platform: Option<&Platform>) -> Result<Descriptor, Error> {
        self.client.resolve(reference, platform)
    }

    fn manifest(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<(Descriptor, Manifest), Error> {
        self.client.manifest(reference, platform)
    }

    fn each(
        &self,
        reference: &Reference,
        options: WalkOptions,
        take: &mut dyn FnMut(Node),
    ) -> Result<(), Error> {
        self.client.walk(reference, options).try_for_each(|node| node.map(&mut *take))
    }

    fn check(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        take: &mut dyn FnMut(Finding),
    ) -> Result<Descriptor, Error> {
        self.client.check(reference, platform, take)
    }

    fn pull(
        &self,
        reference: &Reference,
        mirror: LayoutDestination,
        options: PullOptions,
    ) -> Result<Descriptor, PullError> {
        self.client.pull(reference, mirror, options)
    }

    fn blob_to(&self, of: Blob<'_>, writer: &mut dyn Writer) -> Result<u64, Error> {
        match of {
            Blob::Named(reference, size) => self.client.blob_to(reference, size, writer),
            Blob::Described(reference, descriptor) => {
                self.client.described_blob_to(reference, descriptor, writer)
            }
        }
    }

    fn blob_bytes(&self, of: Blob<'_>, limit: u64) -> Result<Vec<u8>, Error> {
        let bytes = match of {
            Blob::Named(reference, size) => self.client.blob_bytes(reference, size, limit),
            Blob::Described(reference, descriptor) => {
                self.client.described_blob_bytes(reference, descriptor, limit)
            }
        };
        bytes.map(Into::into)
    }

    fn blob_read(&self, of: Blob<'_>) -> io::Result<Vec<u8>> {
        let mut reader = match of {
            Blob::Named(reference, size) => self.client.blob(reference, size),
            Blob::Described(reference, descriptor) => self.client.described_blob(reference, descriptor),
        };
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn upload(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        source: Arc<dyn BlobSource>,
        options: UploadOptions,
    ) -> Result<Stored, Error> {
        self.client.upload(reference, descriptor, source, options)
    }

    fn upload_stream(
        &self,
        reference: &Reference,
        reader: &mut dyn Reader,
        options: StreamOptions,
    ) -> Result<Descriptor, Error> {
        self.client.upload_stream(reference, reader, options)
    }

    fn blob_write(
        &self,
        reference: &Reference,
        parts: &mut dyn Iterator<Item = Vec<u8>>,
        options: StreamOptions,
    ) -> io::Result<Descriptor> {
        let mut writer = self.client.blob_writer(reference, options);
        for part in parts {
            writer.write_all(&part)?;
        }
        writer.finish().map_err(io::Error::other)
    }

    fn push(
        &self,
        root: &Descriptor,
        reference: &Reference,
        tree: Arc<dyn TreeSource>,
        options: TransferOptions,
    ) -> Result<(), Error> {
        self.client.push(root, reference, &tree, options)
    }

    fn copy(&self, from: &Reference, to: &Reference, options: TransferOptions) -> Result<Descriptor, Error> {
        self.client.copy(from, to, options)
    }

    fn push_manifest(
        &self,
        reference: &Reference,
        manifest: &Manifest,
        tags: Vec<Tag>,
    ) -> Result<(Descriptor, Stored), Error> {
        self.client.push_manifest(reference, manifest, tags)
    }

    fn tag(&self, reference: &Reference, tags: Vec<Tag>) -> Result<Descriptor, Error> {
        self.client.tag(reference, tags)
    }

    fn blob_abandon(&self, reference: &Reference, bytes: &[u8], until: &dyn Fn() -> bool) -> io::Result<()> {
        let mut writer = self.client.blob_writer(reference, StreamOptions::default());
        writer.write_all(bytes)?;
        drop(writer);
        self.work_until(until);
        Ok(())
    }

    fn work_until(&self, until: &dyn Fn() -> bool) {
        for _ in 0..10_000 {
            if until() {
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn tags(
        &self,
        reference: &Reference,
        page_size: Option<NonZeroUsize>,
        take: &mut dyn FnMut(Tag),
    ) -> Result<u64, Error> {
        take_all(self.client.tags(reference, page_size), take)
    }

    fn check_access(&self, registry: &Registry) -> Result<bool, Error> {
        self.client.check_access(registry)
    }

    fn repositories(
        &self,
        registry: &Registry,
        page_size: Option<NonZeroUsize>,
        take: &mut dyn FnMut(Repository),
    ) -> Result<u64, Error> {
        take_all(self.client.repositories(registry, page_size), take)
    }

    fn referrers(
        &self,
        reference: &Reference,
        artifact_type: Option<&MediaType>,
        take: &mut dyn FnMut(Referrer),
    ) -> Result<(), Error> {
        take_all(self.client.referrers(reference, artifact_type), take).map(drop)
    }

    fn delete(&self, reference: &Reference, is_blob: bool) -> Result<(), Error> {
        if is_blob { self.client.delete_blob(reference) } else { self.client.delete(reference) }
    }

    fn exists(&self, reference: &Reference, is_blob: bool) -> Result<bool, Error> {
        if is_blob { self.client.blob_exists(reference) } else { self.client.exists(reference) }
    }

    fn metrics(&self) -> Metrics {
        self.client.metrics()
    }
}

fn take_all<T>(mut list: oci_proto_ureq::List<T>, take: &mut dyn FnMut(T)) -> Result<u64, Error> {
    for entry in &mut list {
        take(entry?);
    }
    Ok(list.left_out())
}

//! The asynchronous adapter.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use oci_proto::{
    Descriptor, Error, Finding, Manifest, MediaType, Node, Platform, PullOptions, Reference, Referrer,
    Registry, Repository, Stored, Tag, WalkOptions,
};
use oci_proto_common::{
    BlobSource, Metrics, Settings, StreamOptions, TransferOptions, TreeSource, UploadOptions,
};
use oci_proto_tokio::layout::{LayoutDestination, PullError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::{self, Runtime};

use crate::adapter::{Adapter, Blob, Reader, Writer};

/// Builds a client.
pub(super) fn make(settings: &Settings) -> Box<dyn Adapter> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let client = oci_proto_tokio::Client::with_settings(settings.clone()).expect("a client is built");
    Box::new(Tokio { client, runtime })
}

#[derive(Debug)]
struct Tokio {
    client: oci_proto_tokio::Client,
    runtime: Runtime,
}

impl Tokio {
    fn list<T: Unpin>(
        &self,
        mut list: oci_proto_tokio::List<T>,
        take: &mut dyn FnMut(T),
    ) -> Result<u64, Error> {
        self.runtime.block_on(async {
            while let Some(entry) = list.try_next().await? {
                take(entry);
            }
            Ok(list.left_out())
        })
    }
}

impl Adapter for Tokio {
    fn name(&self) -> &'static str {
        "tokio"
    }

    fn resolve(&self, reference: &Reference, platform: Option<&Platform>) -> Result<Descriptor, Error> {
        self.runtime.block_on(self.client.resolve(reference, platform))
    }

    fn manifest(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
    ) -> Result<(Descriptor, Manifest), Error> {
        self.runtime.block_on(self.client.manifest(reference, platform))
    }

    fn each(
        &self,
        reference: &Reference,
        options: WalkOptions,
        take: &mut dyn FnMut(Node),
    ) -> Result<(), Error> {
        self.runtime.block_on(async {
            let mut walk = self.client.walk(reference, options);
            while let Some(node) = walk.try_next().await? {
                take(node);
            }
            Ok(())
        })
    }

    fn check(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        take: &mut dyn FnMut(Finding),
    ) -> Result<Descriptor, Error> {
        self.runtime.block_on(self.client.check(reference, platform, take))
    }

    fn pull(
        &self,
        reference: &Reference,
        mirror: LayoutDestination,
        options: PullOptions,
    ) -> Result<Descriptor, PullError> {
        self.runtime.block_on(self.client.pull(reference, mirror, options))
    }

    fn blob_to(&self, of: Blob<'_>, writer: &mut dyn Writer) -> Result<u64, Error> {
        self.runtime.block_on(async {
            match of {
                Blob::Named(reference, size) => self.client.blob_to(reference, size, writer).await,
                Blob::Described(reference, descriptor) => {
                    self.client.described_blob_to(reference, descriptor, writer).await
                }
            }
        })
    }

    fn blob_bytes(&self, of: Blob<'_>, limit: u64) -> Result<Vec<u8>, Error> {
        let bytes = self.runtime.block_on(async {
            match of {
                Blob::Named(reference, size) => self.client.blob_bytes(reference, size, limit).await,
                Blob::Described(reference, descriptor) => {
                    self.client.described_blob_bytes(reference, descriptor, limit).await
                }
            }
        });
        bytes.map(Into::into)
    }

    fn blob_read(&self, of: Blob<'_>) -> io::Result<Vec<u8>> {
        async fn all(mut reader: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).await?;
            Ok(bytes)
        }
        self.runtime.block_on(all(match of {
            Blob::Named(reference, size) => self.client.blob(reference, size),
            Blob::Described(reference, descriptor) => self.client.described_blob(reference, descriptor),
        }))
    }

    fn upload(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        source: Arc<dyn BlobSource>,
        options: UploadOptions,
    ) -> Result<Stored, Error> {
        self.runtime.block_on(self.client.upload(reference, descriptor, source, options))
    }

    fn upload_stream(
        &self,
        reference: &Reference,
        reader: &mut dyn Reader,
        options: StreamOptions,
    ) -> Result<Descriptor, Error> {
        self.runtime.block_on(self.client.upload_stream(reference, reader, options))
    }

    fn blob_write(
        &self,
        reference: &Reference,
        parts: &mut dyn Iterator<Item = Vec<u8>>,
        options: StreamOptions,
    ) -> io::Result<Descriptor> {
        self.runtime.block_on(async {
            let mut writer = self.client.blob_writer(reference, options);
            for part in parts {
                writer.write_all(&part).await?;
            }
            writer.finish().await.map_err(io::Error::other)
        })
    }

    fn push(
        &self,
        root: &Descriptor,
        reference: &Reference,
        tree: Arc<dyn TreeSource>,
        options: TransferOptions,
    ) -> Result<(), Error> {
        self.runtime.block_on(self.client.push(root, reference, tree, options))
    }

    fn copy(&self, from: &Reference, to: &Reference, options: TransferOptions) -> Result<Descriptor, Error> {
        self.runtime.block_on(self.client.copy(from, to, options))
    }

    fn push_manifest(
        &self,
        reference: &Reference,
        manifest: &Manifest,
        tags: Vec<Tag>,
    ) -> Result<(Descriptor, Stored), Error> {
        self.runtime.block_on(self.client.push_manifest(reference, manifest, tags))
    }

    fn tag(&self, reference: &Reference, tags: Vec<Tag>) -> Result<Descriptor, Error> {
        self.runtime.block_on(self.client.tag(reference, tags))
    }

    fn blob_abandon(&self, reference: &Reference, bytes: &[u8], until: &dyn Fn() -> bool) -> io::Result<()> {
        self.runtime.block_on(async {
            let mut writer = self.client.blob_writer(reference, StreamOptions::default());
            writer.write_all(bytes).await?;
            Ok::<_, io::Error>(())
        })?;
        self.work_until(until);
        Ok(())
    }

    fn work_until(&self, until: &dyn Fn() -> bool) {
        self.runtime.block_on(async {
            for _ in 0..10_000 {
                if until() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
    }

    fn tags(
        &self,
        reference: &Reference,
        page_size: Option<NonZeroUsize>,
        take: &mut dyn FnMut(Tag),
    ) -> Result<u64, Error> {
        self.list(self.client.tags(reference, page_size), take)
    }

    fn check_access(&self, registry: &Registry) -> Result<bool, Error> {
        self.runtime.block_on(self.client.check_access(registry))
    }

    fn repositories(
        &self,
        registry: &Registry,
        page_size: Option<NonZeroUsize>,
        take: &mut dyn FnMut(Repository),
    ) -> Result<u64, Error> {
        self.list(self.client.repositories(registry, page_size), take)
    }

    fn referrers(
        &self,
        reference: &Reference,
        artifact_type: Option<&MediaType>,
        take: &mut dyn FnMut(Referrer),
    ) -> Result<(), Error> {
        self.list(self.client.referrers(reference, artifact_type), take).map(drop)
    }

    fn delete(&self, reference: &Reference, is_blob: bool) -> Result<(), Error> {
        self.runtime.block_on(async {
            if is_blob {
                self.client.delete_blob(reference).await
            } else {
                self.client.delete(reference).await
            }
        })
    }

    fn exists(&self, reference: &Reference, is_blob: bool) -> Result<bool, Error> {
        self.runtime.block_on(async {
            if is_blob {
                self.client.blob_exists(reference).await
            } else {
                self.client.exists(reference).await
            }
        })
    }

    fn metrics(&self) -> Metrics {
        self.client.metrics()
    }
}

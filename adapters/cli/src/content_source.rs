//! The source of a command's content: a registry or an image layout.

use std::io::{self, Read};
use std::time::Instant;

use bytes::Bytes;
use oci_proto::layout::Root;
use oci_proto::{Descriptor, InvalidRequest, Manifest, Node, Platform, Reference, WalkOptions};
use oci_proto_common::config_of;
use oci_proto_layout::{Layout, LayoutError};

use crate::args::CommonArgs;
use crate::args::layout_name::LayoutName;
use crate::args::reference::AnyReference;
use crate::client::Client;
use crate::output::Failure;

/// An opened registry or layout, and a reference into it.
pub(crate) enum ContentSource<'a> {
    Registry { client: Client, name: &'a Reference },
    Layout { layout: Layout, name: &'a LayoutName, since: Instant },
}

impl<'a> ContentSource<'a> {
    pub(crate) fn open(name: &'a AnyReference, common: &CommonArgs) -> Result<Self, Failure> {
        match name {
            AnyReference::Registry(name) => {
                Ok(Self::Registry { client: Client::for_registry(name.registry(), common)?, name })
            }
            AnyReference::Layout(name) => {
                let since = Instant::now();
                let layout = name.open().map_err(|error| Failure::of_opening(&error, name))?;
                Ok(Self::Layout { layout, name, since })
            }
        }
    }

    pub(crate) fn resolve(&self, platform: Option<&Platform>) -> Result<Descriptor, Failure> {
        match self {
            Self::Registry { client, name } => client.resolve(name, platform),
            Self::Layout { layout, name, .. } => {
                layout.resolve(name.root(), platform).map_err(|error| Failure::of_layout(&error))
            }
        }
    }

    pub(crate) fn manifest(&self, platform: Option<&Platform>) -> Result<Manifest, Failure> {
        match self {
            Self::Registry { client, name } => client.manifest(name, platform).map(|(_, manifest)| manifest),
            Self::Layout { layout, name, .. } => layout
                .resolve(name.root(), platform)
                .and_then(|descriptor| layout.manifest(&descriptor))
                .map_err(|error| Failure::of_layout(&error)),
        }
    }

    pub(crate) fn walk(
        &self,
        options: WalkOptions,
    ) -> Result<Box<dyn Iterator<Item = Result<Node, Failure>> + '_>, Failure> {
        match self {
            Self::Registry { client, name } => Ok(Box::new(client.walk(name, options))),
            Self::Layout { layout, name, .. } => {
                let walk = layout.walk(name.root(), &options).map_err(|error| Failure::of_layout(&error))?;
                Ok(Box::new(walk.map(|node| node.map_err(|error| Failure::of_layout(&error)))))
            }
        }
    }

    /// Reads the config of an image.
    pub(crate) fn config(&self, platform: Option<&Platform>) -> Result<Bytes, Failure> {
        let (layout, name) = match self {
            Self::Registry { client, name } => return client.image_config(name, platform),
            Self::Layout { layout, name, .. } => (layout, name),
        };
        let failure = |error| Failure::of_layout(&error);
        let root = layout.resolve(name.root(), platform).map_err(failure)?;
        let manifest = layout.manifest(&root).map_err(failure)?;
        let config = config_of(&root, &manifest).map_err(|error| Failure::of_config(&error))?;
        if let Some(data) = config.data {
            return Ok(data);
        }
        let mut bytes = Vec::new();
        let mut blob = layout.blob(&config.digest, Some(config.size)).map_err(failure)?;
        blob.read_to_end(&mut bytes).map_err(|error| self.read_failure(error))?;
        Ok(bytes.into())
    }

    /// Reads a blob. The end of file is reached only after verification.
    pub(crate) fn blob(&self, size: Option<u64>) -> Result<Box<dyn Read + '_>, Failure> {
        match self {
            Self::Registry { client, name } => Ok(client.blob(name, size)),
            Self::Layout { layout, name, .. } => {
                let Root::Digest(digest) = name.root() else {
                    return Err(Failure::usage(InvalidRequest::BlobWithoutDigest));
                };
                let blob = layout.blob(digest, size).map_err(|error| Failure::of_layout(&error))?;
                Ok(Box::new(blob))
            }
        }
    }

    /// Converts an error of reading a blob. Readers wrap the error of the operation.
    pub(crate) fn read_failure(&self, error: io::Error) -> Failure {
        let error = match error.downcast::<LayoutError>() {
            Ok(error) => return Failure::of_layout(&error),
            Err(error) => error,
        };
        match (error.downcast::<oci_proto::Error>(), self) {
            (Ok(error), Self::Registry { client, name }) => client.failure(&error, name),
            (Ok(error), Self::Layout { .. }) => Failure::failed(error),
            (Err(error), _) => Failure::failed(error),
        }
    }

    /// The number of requests, for a registry, and the time spent so far.
    pub(crate) fn spent(&self) -> String {
        match self {
            Self::Registry { client, .. } => client.spent(),
            Self::Layout { since, .. } => format!("{} ms", since.elapsed().as_millis()),
        }
    }

    /// Prints what it took, if --verbose is given.
    pub(crate) fn tell_details(&self, common: &CommonArgs) {
        match self {
            Self::Registry { client, .. } => client.tell_details(common),
            Self::Layout { .. } => common.detail(format_args!("layout: {}", self.spent())),
        }
    }

    pub(crate) fn close(self) {
        if let Self::Registry { client, .. } = self {
            client.close();
        }
    }
}

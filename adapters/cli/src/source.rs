//! Where a command's content comes from: a registry, or an image layout.

use std::io::{self, Read};
use std::time::Instant;

use oci_proto::layout::{NoRoot, Root};
use oci_proto::{Descriptor, Manifest, Node, Platform, Reference, WalkOptions};
use oci_proto_layout::{Layout, LayoutError, LayoutReference, Trouble};

use crate::args::{Common, Name};
use crate::client::Client;
use crate::output::Failure;

/// What a command was asked about, at its place.
pub(crate) enum Source<'a> {
    Registry { client: Client, name: &'a Reference },
    Layout { layout: Layout, name: &'a LayoutReference, since: Instant },
}

impl<'a> Source<'a> {
    pub(crate) fn open(name: &'a Name, common: &Common) -> Result<Self, Failure> {
        match name {
            Name::Registry(name) => {
                let store = common.login.store(name.registry())?;
                Ok(Self::Registry { client: Client::new(common.adapter, common, store)?, name })
            }
            Name::Layout(name) => {
                let since = Instant::now();
                let layout = Layout::open(name.folder()).map_err(|error| Failure::of_layout(&error))?;
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

    /// A blob as it is read. The end comes only after verification.
    pub(crate) fn blob(&self, size: Option<u64>) -> Result<Box<dyn Read + '_>, Failure> {
        match self {
            Self::Registry { client, name } => Ok(client.blob(name, size)),
            Self::Layout { layout, name, .. } => {
                let Root::Digest(digest) = name.root() else {
                    return Err(Failure::usage("a blob is named by its digest"));
                };
                let blob = layout.blob(digest, size).map_err(|error| Failure::of_layout(&error))?;
                Ok(Box::new(blob))
            }
        }
    }

    /// What reading a blob met: readers wrap what failed an operation.
    pub(crate) fn broken(&self, error: io::Error) -> Failure {
        let error = match error.downcast::<LayoutError>() {
            Ok(error) => return Failure::of_layout(&error),
            Err(error) => error,
        };
        match (error.downcast::<oci_proto::Error>(), self) {
            (Ok(error), Self::Registry { name, .. }) => Failure::of(&error, name),
            (Ok(error), Self::Layout { .. }) => Failure::failed(error),
            (Err(error), _) => Failure::failed(error),
        }
    }

    /// What the work took so far.
    pub(crate) fn spent(&self) -> String {
        match self {
            Self::Registry { client, .. } => client.spent(),
            Self::Layout { since, .. } => format!("{} ms", since.elapsed().as_millis()),
        }
    }

    pub(crate) fn close(self) {
        if let Self::Registry { client, .. } = self {
            client.close();
        }
    }
}

impl Failure {
    /// What work on a layout met.
    pub(crate) fn of_layout(error: &LayoutError) -> Self {
        let failure = Self::failed(error);
        match error.trouble() {
            Trouble::Root(NoRoot::Several(_) | NoRoot::Unknown(_)) => {
                failure.with_hint("name one of these as oci:DIR:TAG, or as oci:DIR@DIGEST")
            }
            Trouble::Root(NoRoot::Ambiguous { .. }) => {
                failure.with_hint("name one of these as oci:DIR@DIGEST")
            }
            Trouble::Missing if error.path().ends_with("oci-layout") => {
                failure.with_hint("a folder without this file is not an image layout; check its path")
            }
            Trouble::Size { .. } | Trouble::Content(_) | Trouble::NotAFile(_) | Trouble::NotAFolder(_) => {
                failure
                    .with_hint("the layout is damaged; `ocip check oci:DIR` tells all that is wrong with it")
            }
            Trouble::Walk(error) => match error.hint() {
                Some(hint) => failure.with_hint(hint),
                None => failure,
            },
            _ => failure,
        }
    }
}

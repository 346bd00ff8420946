//! The children of a document that is to be written.

use http::Uri;

use crate::types::annotations::Annotations;
use crate::types::descriptor::Descriptor;
use crate::types::descriptor::write::DescriptorJson;

/// A child of a document: its descriptor, with the properties that a [`Descriptor`] does not hold.
///
/// ```
/// use oci_proto::build::{Annotations, Child};
/// use oci_proto::{Algorithm, Descriptor, Digest};
///
/// let digest = Digest::of(Algorithm::Sha256, b"hello");
/// let file = Descriptor::new("text/plain".parse()?, digest, 5);
/// let mut title = Annotations::new();
/// title.insert("org.opencontainers.image.title", "hello.txt")?;
/// let child = Child::from(file).annotations(title);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Source: image-spec, descriptor.md, "Properties".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    descriptor: Descriptor,
    urls: Vec<Uri>,
    annotations: Annotations,
}

impl Child {
    /// Sets the annotations.
    #[must_use]
    pub fn annotations(mut self, annotations: Annotations) -> Self {
        self.annotations = annotations;
        self
    }

    /// Sets the URLs from which the content may also be downloaded: http or https.
    #[must_use]
    pub fn urls(mut self, urls: impl IntoIterator<Item = Uri>) -> Self {
        self.urls = urls.into_iter().collect();
        self
    }

    pub(super) fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Returns the first URL whose scheme is neither http nor https.
    pub(super) fn unusable_url(&self) -> Option<&Uri> {
        self.urls.iter().find(|url| !matches!(url.scheme_str(), Some("http" | "https")))
    }

    /// Returns the JSON object to be serialized.
    pub(crate) fn json(&self) -> DescriptorJson<'_> {
        DescriptorJson { descriptor: &self.descriptor, urls: &self.urls, annotations: &self.annotations }
    }
}

impl From<Descriptor> for Child {
    fn from(descriptor: Descriptor) -> Self {
        Self { descriptor, urls: Vec::new(), annotations: Annotations::new() }
    }
}

impl From<&Descriptor> for Child {
    fn from(descriptor: &Descriptor) -> Self {
        descriptor.clone().into()
    }
}

//! The children of a document: the descriptors that it contains, in document order.

use std::fmt;

use crate::manifest::{DescriptorRef, Manifest};
use crate::types::media_type::Kind;

/// The position of a child in its document. Numbers start at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a new kind of child changes every traversal")]
pub enum Part {
    /// An image's config.
    Config,
    /// One of an image's layers.
    Layer(usize),
    /// One of an index's entries.
    Entry(usize),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("the config"),
            Self::Layer(n) => write!(f, "layers[{n}]"),
            Self::Entry(n) => write!(f, "manifests[{n}]"),
        }
    }
}

impl Manifest {
    /// Returns the children in document order: the config and the layers of an image, or the entries of
    /// an index. A subject is not a child.
    ///
    /// ```
    /// use oci_proto::{Evidence, Manifest, Part};
    ///
    /// let blob = r#"{"mediaType":"text/plain","digest":"x:y","size":1}"#;
    /// let image = format!(r#"{{"schemaVersion":2,"config":{blob},"layers":[{blob}]}}"#);
    /// let image = Manifest::read(image.into(), Evidence::default())?;
    /// let parts: Vec<Part> = image.children().map(|(part, _)| part).collect();
    /// assert_eq!(parts, [Part::Config, Part::Layer(0)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn children(&self) -> impl Iterator<Item = (Part, DescriptorRef<'_>)> {
        (0..).map_while(|n| self.child(n))
    }

    /// Returns the nth of the [`children`](Self::children).
    pub(crate) fn child(&self, n: usize) -> Option<(Part, DescriptorRef<'_>)> {
        match self.kind() {
            Kind::Index => Some((Part::Entry(n), self.entry(n)?)),
            Kind::Image => match n.checked_sub(1) {
                None => Some((Part::Config, self.config()?)),
                Some(n) => Some((Part::Layer(n), self.entry(n)?)),
            },
            Kind::Other => None,
        }
    }
}
